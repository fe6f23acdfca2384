/**
 * dhcp: gets addresses from DHCP servers of the container's network, through the lease agent
 * (`dhcp daemon`), which renews them, or by itself for a container that lives shorter than its
 * lease.
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
import type { NetnsRef } from "../host/command.ts";
import type { Attachment } from "../recipes/own.ts";
import type { Conf } from "./dhcp/conf.ts";
import type { AllocateArgs } from "./dhcp/lease_rpc.ts";
import type { Means } from "./dhcp/place.ts";
import { CniError, codes, toCniError } from "../cni/error.ts";
import { definePlugin } from "../cni/plugin.ts";
import { serve } from "../cni/serve.ts";
import { formatIp, parseCidr } from "../host/ip.ts";
import { showLink } from "../host/ip_link.ts";
import { requirePrevResult } from "../recipes/check.ts";
import { containerNetns } from "../recipes/container.ts";
import { look } from "../recipes/look.ts";
import { removeAll } from "../recipes/removal.ts";
import { requireTools } from "../recipes/status.ts";
import { AgentClient, NotRunning } from "./dhcp/client.ts";
import { confDecoder } from "./dhcp/conf.ts";
import { hasTraces, leaseFiles, leasePath, usual } from "./dhcp/place.ts";

/** Programs that an exchange takes. */
const tools = ["ip", "sh", "nsenter"] as const;

/** Milliseconds to wait for an answer that comes at once or never. */
const shortTimeout = 5_000;

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

async function add(req: Request<Conf>, means = usual): Promise<Result> {
  containerNetns(req);
  if (req.host.dryRun) throw notPlannable();
  if (req.conf.oneShot) return await (await loadAlone()).acquireAlone(req, means);
  const args = argsOf(req);
  // A lease that an ADD before has got is not taken back. Where the call fails, there may be one.
  if (!leaseFiles(means).includes(await leasePath(attachmentOf(req), means))) {
    req.host.onRollback("get a lease from the agent", () => takeBack(req, args));
  }
  return await agentOf(req).allocate(args);
}

async function takeBack({ conf }: Request<Conf>, args: AllocateArgs): Promise<void> {
  await new AgentClient(conf.socket, shortTimeout).release(args).catch(onlyIfDown);
}

/** What most calls have no use for. */
function loadAlone(): Promise<typeof import("./dhcp/alone.ts")> {
  return import("./dhcp/alone.ts");
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
  const netns = containerNetns(req);
  if (req.conf.oneShot) return await checkAlone(req, means);
  const lease = await agentOf(req).check(argsOf(req)).catch((error) => {
    const { msg, details } = toCniError(error);
    throw new CniError(codes.checkFailed, msg, details, { cause: error });
  });
  if (!lease) await checkInterface(req, netns);
}

/** The reference's agent cannot tell whether there is a lease; the address says so. */
async function checkInterface(req: Request<Conf>, netns: NetnsRef): Promise<void> {
  const { host, ifName } = req;
  const wanted = requirePrevResult(req).ips.map(({ address }) => formatIp(parseCidr(address)!));
  const [link] = await look(host, showLink(ifName, { netns }));
  const present = (link?.addresses ?? []).map(({ address }) => address);
  const missing = wanted.filter((ip) => !present.includes(ip));
  if (missing.length === 0) return;
  throw new CniError(
    codes.checkFailed,
    `Cannot find ${missing.join(", ")} on container interface "${ifName}": ADD has given it`,
  );
}

async function checkAlone(req: Request<Conf>, means: Means): Promise<void> {
  const path = await leasePath(attachmentOf(req), means);
  (await loadAlone()).requireLease(req, { ...means, path });
}

function attachmentOf({ network, containerId, ifName }: Request<Conf>): Attachment {
  return { network, containerId, ifName };
}

/** A lease of no agent, or of one that does not run, is given back by the plugin itself. */
async function del(req: Request<Conf>, means = usual): Promise<void> {
  const { conf, host } = req;
  const path = await leasePath(attachmentOf(req), means);
  const alone = hasTraces(path, means) ? await loadAlone() : undefined;
  const left = alone?.readTraces(path, means);
  const kept = left ? left.agent !== undefined : !conf.oneShot;
  const asked = kept && !host.dryRun;
  const down = asked ? await agentOf(req).release(argsOf(req)).catch(onlyIfDown) : undefined;
  if (left && (down || !asked)) await alone!.giveUp(host, path, means);
}

/** Gives the error where no agent runs; throws any other. */
function onlyIfDown(error: Error): NotRunning {
  if (error instanceof NotRunning) return error;
  throw error;
}

async function gc(req: GcRequest<Conf>, means = usual): Promise<void> {
  const { conf, host, network, valid } = req;
  const asked = !conf.oneShot && !host.dryRun;
  const down = asked ? await agentOf(req).gc(network, valid).catch(onlyIfDown) : undefined;
  if (leaseFiles(means).length === 0) return;
  const { releaseAlone, staleLeases } = await loadAlone();
  const stale = staleLeases(req, means).filter(({ agent }) => agent === undefined || down);
  await removeAll(stale.map((entry) => ({
    why: `give back the lease of container "${entry.containerId}"`,
    run: () => releaseAlone(host, entry, means),
  })));
}

async function status(req: Request<Conf>, means = usual): Promise<void> {
  requireTools(tools);
  const { oneShot, socket } = req.conf;
  if (oneShot) return;
  await new AgentClient(socket, shortTimeout).greet().catch((error) => {
    const { msg, details } = toCniError(error);
    const waiting = leaseFiles(means).length > 0;
    const code = waiting ? codes.limitedConnectivity : codes.notAvailable;
    throw new CniError(code, msg, details, { cause: error });
  });
}

if (import.meta.main) await serve(plugin);
