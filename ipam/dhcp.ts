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
import type { AllocateArgs } from "./dhcp/rpc/dhcp_service.ts";
import type { Means } from "./dhcp/lease/lease_files.ts";
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
import { AgentClient, NotRunning } from "./dhcp/agent_client.ts";
import { confDecoder, familiesOf } from "./dhcp/conf/conf.ts";
import { mergeResults, named } from "./dhcp/lease/dual_stack.ts";
import { hasTraces, leaseFiles, leasePath, usual } from "./dhcp/lease/lease_files.ts";
import { isServed } from "./dhcp/agent/agent_lock.ts";
import { together } from "./dhcp/lease/all_or_cancel.ts";

/** Programs that an exchange takes. */
const tools = ["ip", "sh", "nsenter"] as const;

/** Milliseconds to wait for an answer that comes at once or never. */
const shortTimeout = 5_000;
/** Milliseconds in which the agent may find out what an acquisition has brought, and give it back. */
const releaseTimeout = 15_000;

/** Means, and what ends an acquisition. */
type Stoppable = Means & { readonly signal?: AbortSignal | undefined };

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
  add: (req) => add(req),
  check: (req) => check(req),
  del: (req) => del(req),
  gc: (req) => gc(req),
  status: (req) => status(req),
});

/** The verbs, with the place of leases and the way of packets for a test to choose. */
export const verbs = { add, check, del, gc, status };

/** An ADD that is stopped waits for nobody any more, and says that it was. */
async function add(req: Request<Conf>, means = usual): Promise<Result> {
  const { signal } = req.host;
  return await acquire(req, { ...means, signal }).catch((error) => {
    signal?.throwIfAborted();
    throw error;
  });
}

async function acquire(req: Request<Conf>, means: Stoppable): Promise<Result> {
  const { conf, host, ifName } = req;
  const netns = containerNetns(req);
  if (host.dryRun) throw notPlannable();
  if (conf.ipv6 === "none") return await lease(req, means);
  const { awaitAddress, heedRouters } = await loadAutoconf();
  const autoconf = conf.ipv6 === "slaac";
  await heedRouters(host, { netns, ifName, autoconf });
  const leases = (signal: AbortSignal) => lease(req, { ...means, signal });
  const address = (signal: AbortSignal) =>
    awaitAddress(host, { netns, ifName, within: conf.timeout, signal }).catch((error) => {
      throw named({ label: "IPv6" }, error);
    });
  const parts = [...(usesDhcp(conf) ? [leases] : []), ...(autoconf ? [address] : [])];
  return mergeResults(await together(parts, means));
}

/** What DHCP servers give, of every family that is wanted of them. */
async function lease(req: Request<Conf>, means: Stoppable): Promise<Result> {
  if (req.conf.oneShot) return await (await loadAlone()).acquireAlone(req, means);
  const args = argsOf(req);
  const agent = agentOf(req);
  // A lease that an ADD before has got is not taken back. Where the call fails, there may be one.
  const paths = await leasePaths(req, means);
  if (!paths.some((path) => leaseFiles(means).includes(path))) {
    req.host.onRollback("get a lease from the agent", () => takeBack(req, args));
  }
  return req.conf.ipv6 === "dhcp"
    ? await agent.allocateAll(args, means)
    : await agent.allocate(args, means);
}

/** Whether any family is wanted of DHCP servers. */
function usesDhcp(conf: Conf): boolean {
  return familiesOf(conf).length > 0;
}

/** Where the leases of an attachment are kept, one a family. */
function leasePaths(req: Request<Conf>, { dir }: Means): Promise<string[]> {
  const { network, containerId, ifName } = req;
  const attachment = { network, containerId, ifName };
  return Promise.all(([4, 6] as const).map((family) => leasePath(attachment, { dir, family })));
}

async function takeBack({ conf }: Request<Conf>, args: AllocateArgs): Promise<void> {
  await new AgentClient(conf.socket, releaseTimeout).release(args).catch(onlyIfDown);
}

/** What only IPv6 has a use for. */
function loadAutoconf(): Promise<typeof import("./dhcp/autoconf.ts")> {
  return import("./dhcp/autoconf.ts");
}

/** What most calls have no use for. */
function loadAlone(): Promise<typeof import("./dhcp/one_shot.ts")> {
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

/** What the agent is told: the call as it came, with an absolute path. */
function argsOf(req: Request<Conf>): AllocateArgs {
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

/** The interface is whose it is: the plugin that has configured it looks at it. */
async function check(req: Request<Conf>, means = usual): Promise<void> {
  const { conf } = req;
  containerNetns(req);
  const leased = usesDhcp(conf);
  if (leased && conf.oneShot) await (await loadAlone()).requireLeases(req, means);
  const known = conf.oneShot || !leased || await checkAgent(req);
  if (!known) await checkInterface(req);
  else if (conf.ipv6 === "slaac") await checkInterface(req, { family: 6 });
}

/** Whether the agent keeps what is wanted; the reference's cannot tell. */
async function checkAgent(req: Request<Conf>): Promise<boolean> {
  const result = await agentOf(req).check(argsOf(req)).catch((error) => {
    const { msg, details } = toCniError(error);
    throw new CniError(codes.checkFailed, msg, details, { cause: error });
  });
  return result !== undefined;
}

/** Where nobody knows of a lease, the address says that there is one. */
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
 * A lease of no agent, or of one that does not run, is given back by the plugin itself, whoever
 * serves the socket by now.
 */
async function del(req: Request<Conf>, means = usual): Promise<void> {
  const { conf, host } = req;
  const paths = (await leasePaths(req, means)).filter((path) => hasTraces(path, means));
  const alone = paths.length > 0 ? await loadAlone() : undefined;
  const left = paths.map((path) => alone!.readTraces(path, means))
    .filter((trace) => trace !== undefined);
  const kept = left.length > 0
    ? left.some(({ agent }) => agent !== undefined)
    : usesDhcp(conf) && !conf.oneShot;
  const asked = kept && !host.dryRun;
  const down = asked ? await agentOf(req).release(argsOf(req)).catch(onlyIfDown) : undefined;
  const ours = left.filter((trace) => down || !asked || isNobodys(trace));
  await removeAll(ours.map(({ path }) => ({
    why: "give back a lease",
    run: () => alone!.giveUp(host, path, means),
  })));
}

/** Whether a lease is none of a running agent: that of the reference leaves it as it is. */
function isNobodys({ agent }: { readonly agent?: string | undefined }): boolean {
  return agent === undefined || !isServed(agent);
}

/** Gives the error where no agent runs; throws any other. */
function onlyIfDown(error: Error): NotRunning {
  if (error instanceof NotRunning) return error;
  throw error;
}

async function gc(req: GcRequest<Conf>, means = usual): Promise<void> {
  const { conf, host, network, valid } = req;
  const asked = usesDhcp(conf) && !conf.oneShot && !host.dryRun;
  const down = asked ? await agentOf(req).gc(network, valid).catch(onlyIfDown) : undefined;
  if ([...leaseFiles(means), ...leaseFiles(means, "intent")].length === 0) return;
  const { giveUp, staleTraces } = await loadAlone();
  const stale = staleTraces(req, means).filter((trace) => down || isNobodys(trace));
  await removeAll(stale.map(({ containerId, path }) => ({
    why: `give back the lease of container "${containerId}"`,
    run: () => giveUp(host, path, means),
  })));
}

async function status(req: Request<Conf>, means = usual): Promise<void> {
  requireTools(tools);
  const { oneShot, socket } = req.conf;
  if (oneShot || !usesDhcp(req.conf)) return;
  await new AgentClient(socket, shortTimeout).greet().catch((error) => {
    const { msg, details } = toCniError(error);
    const waiting = leaseFiles(means).length > 0;
    const code = waiting ? codes.limitedConnectivity : codes.notAvailable;
    throw new CniError(code, msg, details, { cause: error });
  });
}

if (import.meta.main) await serve(plugin);
