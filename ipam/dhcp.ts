/**
 * dhcp: gets addresses from DHCP servers of the container's network, through the lease agent
 * (`dhcp daemon`), which renews them, or by itself for a container that lives shorter than its
 * lease. Addresses of IPv6 may come of what routers advertise, too: the kernel keeps these.
 *
 * Owns: a file for each lease in `/run/cni/denocni/dhcp/`; the agent also its socket. Runs `ip`,
 * `sh` and `nsenter`, and itself inside the container for each exchange with servers.
 *
 * ```json
 * {
 *   "cniVersion": "1.1.0", "name": "net", "type": "macvlan", "master": "eth0",
 *   "ipam": { "type": "dhcp" }
 * }
 * ```
 *
 * @module
 */
import type { GcRequest, Request } from "../cni/plugin.ts";
import type { Result } from "../cni/types.ts";
import type { Conf } from "./dhcp/conf/conf.ts";
import type { Environment } from "./dhcp/environment.ts";
import type { CmdArgs } from "./dhcp/rpc/cni_gob.ts";
import { CniError, codes, toCniError } from "../cni/error.ts";
import { definePlugin } from "../cni/plugin.ts";
import { serve } from "../cni/serve.ts";
import { formatIp, parseCidr } from "../host/ip.ts";
import { showLink } from "../host/ip_link.ts";
import { requirePrevResult } from "../recipes/check.ts";
import { containerNetns } from "../recipes/container.ts";
import { queryLinks } from "../recipes/links.ts";
import { removeAll } from "../recipes/removal.ts";
import { requireTools } from "../recipes/status.ts";
import { isAgentRunning } from "./dhcp/agent/agent_lock.ts";
import { confDecoder, dhcpFamilies, families } from "./dhcp/conf/conf.ts";
import { hostEnvironment } from "./dhcp/environment.ts";
import { allOrCancel } from "./dhcp/lease/all_or_cancel.ts";
import { mergeResults, withFamilyLabel } from "./dhcp/lease/dual_stack.ts";
import { hasLeaseFiles, leasePath, listLeaseFiles } from "./dhcp/lease/lease_files.ts";
import { AgentClient, AgentNotRunning } from "./dhcp/rpc/agent_client.ts";

/** Programs that an exchange takes. */
const tools = ["ip", "sh", "nsenter"] as const;

/** Milliseconds to wait for an answer that comes at once or never. */
const shortTimeout = 5_000;
/** Milliseconds that the agent has to find out whether it has acquired a lease, and to release it. */
const releaseTimeout = 15_000;

/** The environment of an acquisition, with the signal that ends it. */
type AcquisitionEnvironment = Environment & { readonly signal?: AbortSignal | undefined };

/** The dhcp plugin. */
export const plugin = definePlugin<Conf>({
  type: "dhcp",
  about: "gets addresses from DHCP servers",
  needs: "iproute2; for renewals the agent, `dhcp daemon`",
  permissions: {
    run: tools,
    read: true,
    write: true,
    env: ["LISTEN_PID", "LISTEN_FDS"],
    net: true,
  },
  conf: confDecoder,
  ipam: { needsInterface: true, releaseFirst: true, needsBroadcast: true },
  add: (req) => add(req),
  check: (req) => check(req),
  del: (req) => del(req),
  gc: (req) => gc(req),
  status: (req) => status(req),
});

/** The verbs; a test chooses their environment. */
export const verbs = { add, check, del, gc, status };

/** Adds addresses. A stopped ADD fails with the reason of its signal. */
async function add(req: Request<Conf>, env = hostEnvironment): Promise<Result> {
  const { signal } = req.host;
  return await acquire(req, { ...env, signal }).catch((error) => {
    signal?.throwIfAborted();
    throw error;
  });
}

async function acquire(req: Request<Conf>, env: AcquisitionEnvironment): Promise<Result> {
  const { conf, host, ifName } = req;
  const netns = containerNetns(req);
  if (host.dryRun) throw notPlannable();
  if (conf.ipv6 === "none") return await lease(req, env);
  const { acceptRouterAdvertisements, awaitSlaacAddress } = await loadAutoconf();
  const autoconf = conf.ipv6 === "slaac";
  await acceptRouterAdvertisements(host, { netns, ifName, autoconf });
  const leases = (signal: AbortSignal) => lease(req, { ...env, signal });
  const address = (signal: AbortSignal) =>
    awaitSlaacAddress(host, { netns, ifName, within: conf.timeout, signal }).catch((error) => {
      throw withFamilyLabel({ label: "IPv6" }, error);
    });
  const tasks = [...(usesDhcp(conf) ? [leases] : []), ...(autoconf ? [address] : [])];
  return mergeResults(await allOrCancel(tasks, env));
}

/** Gets leases of every family that the configuration asks DHCP servers for. */
async function lease(req: Request<Conf>, env: AcquisitionEnvironment): Promise<Result> {
  if (req.conf.oneShot) return await (await loadOneShot()).acquireOneShot(req, env);
  const args = argsOf(req);
  const agent = agentOf(req);
  // An existing lease of an earlier ADD stays. If the call fails, the agent may have a new one.
  const paths = await leasePaths(req, env);
  if (!paths.some((path) => listLeaseFiles(env).includes(path))) {
    req.host.onRollback("get a lease from the agent", () => takeBack(req, args));
  }
  return req.conf.ipv6 === "dhcp"
    ? await agent.allocateAll(args, env)
    : await agent.allocate(args, env);
}

/** Whether the configuration asks DHCP servers for any family. */
function usesDhcp(conf: Conf): boolean {
  return dhcpFamilies(conf).length > 0;
}

/** Paths of the leases of an attachment, one a family. */
function leasePaths(req: Request<Conf>, { dir }: Environment): Promise<string[]> {
  const { network, containerId, ifName } = req;
  const attachment = { network, containerId, ifName };
  return Promise.all(families.map((family) => leasePath(attachment, { dir, family })));
}

async function takeBack({ conf }: Request<Conf>, args: CmdArgs): Promise<void> {
  await new AgentClient(conf.socket, releaseTimeout).release(args).catch(errorIfNotRunning);
}

/** Loads the part that only IPv6 needs. */
function loadAutoconf(): Promise<typeof import("./dhcp/autoconf.ts")> {
  return import("./dhcp/autoconf.ts");
}

/** Loads the part that most calls do not need. */
function loadOneShot(): Promise<typeof import("./dhcp/one_shot.ts")> {
  return import("./dhcp/one_shot.ts");
}

function notPlannable(): CniError {
  return new CniError(
    codes.notAvailable,
    'Cannot plan ADD of plugin "dhcp": a server would have to give an address first',
  );
}

function agentOf({ conf }: Request<Conf>): AgentClient {
  return new AgentClient(conf.socket, conf.timeout);
}

/** Makes the arguments for the agent: the call as it came, with an absolute path of the namespace. */
function argsOf(req: Request<Conf>): CmdArgs {
  const { containerId, ifName, netns, args, text, raw } = req;
  const absolute = netns === "" || netns.startsWith("/") ? netns : `${Deno.cwd()}/${netns}`;
  return {
    containerID: containerId,
    netns: absolute,
    ifname: ifName,
    args,
    path: "",
    netnsOverride: "",
    stdin: new TextEncoder().encode(text ?? JSON.stringify(raw)),
  };
}

/** Checks leases. The interface is checked by the plugin that has configured it. */
async function check(req: Request<Conf>, env = hostEnvironment): Promise<void> {
  const { conf } = req;
  containerNetns(req);
  const leased = usesDhcp(conf);
  if (leased && conf.oneShot) await (await loadOneShot()).requireLeases(req, env);
  const known = conf.oneShot || !leased || await checkAgent(req);
  if (!known) await checkInterface(req);
  else if (conf.ipv6 === "slaac") await checkInterface(req, { family: 6 });
}

/** Checks the leases with the agent; gives false when the agent cannot tell, as the reference's. */
async function checkAgent(req: Request<Conf>): Promise<boolean> {
  const result = await agentOf(req).check(argsOf(req)).catch((error) => {
    const { msg, details } = toCniError(error);
    throw new CniError(codes.checkFailed, msg, details, { cause: error });
  });
  return result !== undefined;
}

/** Checks the address on the interface, which shows a lease that nobody knows of. */
async function checkInterface(
  req: Request<Conf>,
  { family }: { readonly family?: 6 } = {},
): Promise<void> {
  const { host, ifName } = req;
  const netns = containerNetns(req);
  const wanted = requirePrevResult(req).ips.map(({ address }) => parseCidr(address)!)
    .filter((cidr) => family === undefined || cidr.family === family).map(formatIp);
  const [link] = await queryLinks(host, showLink(ifName, { netns }));
  const present = (link?.addresses ?? []).map(({ address }) => address);
  const missing = wanted.filter((ip) => !present.includes(ip));
  if (missing.length === 0) return;
  throw new CniError(
    codes.checkFailed,
    `Cannot find ${missing.join(", ")} on container interface "${ifName}": ADD has given it`,
  );
}

/**
 * Removes leases. The plugin itself releases a lease of no agent, or of one that does not run, whoever
 * serves the socket by now.
 */
async function del(req: Request<Conf>, env = hostEnvironment): Promise<void> {
  const { conf, host } = req;
  const paths = (await leasePaths(req, env)).filter((path) => hasLeaseFiles(path, env));
  const oneShot = paths.length > 0 ? await loadOneShot() : undefined;
  const found = paths.map((path) => oneShot!.readLeaseOrIntent(path, env))
    .filter((lease) => lease !== undefined);
  const kept = found.length > 0
    ? found.some(({ agent }) => agent !== undefined)
    : usesDhcp(conf) && !conf.oneShot;
  const asked = kept && !host.dryRun;
  const down = asked ? await agentOf(req).release(argsOf(req)).catch(errorIfNotRunning) : undefined;
  const ours = found.filter((lease) => down || !asked || isOrphan(lease));
  await removeAll(ours.map(({ path }) => ({
    why: "give back a lease",
    run: () => oneShot!.giveUpLease(host, path, env),
  })));
}

/** Whether no running agent of ours keeps a lease. The reference's agent leaves the lease alone. */
function isOrphan({ agent }: { readonly agent?: string | undefined }): boolean {
  return agent === undefined || !isAgentRunning(agent);
}

/** Gives the error when no agent runs; throws any other. */
function errorIfNotRunning(error: Error): AgentNotRunning {
  if (error instanceof AgentNotRunning) return error;
  throw error;
}

async function gc(req: GcRequest<Conf>, env = hostEnvironment): Promise<void> {
  const { conf, host, network, valid } = req;
  const asked = usesDhcp(conf) && !conf.oneShot && !host.dryRun;
  const down = asked ? await agentOf(req).gc(network, valid).catch(errorIfNotRunning) : undefined;
  if ([...listLeaseFiles(env), ...listLeaseFiles(env, "intent")].length === 0) return;
  const { giveUpLease, staleLeases } = await loadOneShot();
  const stale = staleLeases(req, env).filter((lease) => down || isOrphan(lease));
  await removeAll(stale.map(({ containerId, path }) => ({
    why: `give back the lease of container "${containerId}"`,
    run: () => giveUpLease(host, path, env),
  })));
}

async function status(req: Request<Conf>, env = hostEnvironment): Promise<void> {
  requireTools(tools);
  const { oneShot, socket } = req.conf;
  if (oneShot || !usesDhcp(req.conf)) return;
  await new AgentClient(socket, shortTimeout).greet().catch((error) => {
    const { msg, details } = toCniError(error);
    const waiting = listLeaseFiles(env).length > 0;
    const code = waiting ? codes.limitedConnectivity : codes.notAvailable;
    throw new CniError(code, msg, details, { cause: error });
  });
}

if (import.meta.main) await serve(plugin);
