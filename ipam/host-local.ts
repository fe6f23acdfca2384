/**
 * host-local: hands out addresses of local ranges and keeps them in plain files,
 * in the reference's places and formats.
 *
 * Owns: `<dataDir>/<network>/` with `lock`, `last_reserved_ip.<set>` and a file
 * for each reserved address; an index in `<dataDir>/.denocni/<network>/`. Runs
 * nothing.
 *
 * ```json
 * {
 *   "cniVersion": "1.1.0", "name": "net", "type": "bridge",
 *   "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.1.2.0/24" }]] }
 * }
 * ```
 *
 * @module
 */
import type { GcRequest, Request } from "../cni/plugin.ts";
import type { ContainerInterface } from "../cni/attachment_key.ts";
import type { Dns, Result } from "../cni/types.ts";
import type { Ip } from "../host/ip.ts";
import type { Wish } from "./host-local/choose.ts";
import type { Dead } from "./host-local/plan.ts";
import type { Conf } from "./host-local/conf.ts";
import type { Reservation } from "./host-local/reservation.ts";
import type { Store, StoreOptions } from "./host-local/store.ts";
import { parseCniArgs } from "../cni/args.ts";
import { CniError, codes, toCniError } from "../cni/error.ts";
import { definePlugin } from "../cni/plugin.ts";
import { serve } from "../cni/serve.ts";
import { formatCidr, formatIp, parseCidr } from "../host/ip.ts";
import { spansOf } from "./host-local/allocator.ts";
import { availability, decide, describeHolders } from "./host-local/choose.ts";
import { confDecoder } from "./host-local/conf.ts";
import { netnsAt } from "./host-local/liveness.ts";
import { entriesWithout, planRelease, planReserve } from "./host-local/plan.ts";
import { formatSet, parseRequest, rangeOf } from "./host-local/range.ts";
import { describeKey, formatKey } from "./host-local/reservation.ts";
import { parseResolvConf } from "./host-local/resolv_conf.ts";
import { openStore, openStoreIfExists } from "./host-local/store.ts";

/** The host-local plugin. */
export const plugin = definePlugin<Conf>({
  type: "host-local",
  about: "hands out addresses of local ranges",
  needs: "nothing",
  permissions: { run: [], read: true, write: true },
  conf: confDecoder,
  ipam: { needsInterface: false, releaseFirst: false, needsBroadcast: false },
  add,
  check,
  del,
  gc,
  status,
});

async function add(req: Request<Conf>): Promise<Result> {
  const { conf } = req;
  const dns = conf.resolvConf === undefined ? {} : await readDns(conf.resolvConf);
  const wish: Wish = {
    key: keyOf(req),
    netns: netnsAt(req.netns),
    requests: [...requestsInArgs(req.args), ...conf.requests],
  };
  using store = await openStore(storeOptions(req));
  const decision = decide(store, conf, wish);
  await store.apply(planReserve(store.layout, decision));
  if (!req.host.dryRun) reportReclaimed(decision.dead);
  return {
    interfaces: [],
    ips: decision.choices.map(({ ip, range }) => ({
      address: formatCidr({ ...ip, prefix: range.subnet.prefix }),
      gateway: formatIp(range.gateway),
    })),
    routes: [...conf.routes],
    dns,
  };
}

/** The reference trims container IDs, too. */
function keyOf({ containerId, ifName }: Request<Conf>): ContainerInterface {
  return { containerId: containerId.trim(), ifName };
}

function storeOptions({ conf, network, host }: Request<Conf>): StoreOptions {
  const { dataDir, lockTimeout, keepAcrossReboot } = conf;
  return { dataDir, network, host, lockTimeout, keepAcrossReboot };
}

function requestsInArgs(args: string): Ip[] {
  const { IP: text } = parseCniArgs(args, ["IP"]);
  if (text === undefined) return [];
  const ip = parseRequest(text);
  if (ip) return [ip];
  throw new CniError(
    codes.invalidEnvironment,
    `ARGS: error parsing value of pair "IP=${text}": invalid IP address`,
  );
}

async function readDns(path: string): Promise<Dns> {
  const text = await Deno.readTextFile(path).catch(({ message }: Error) => {
    throw new CniError(codes.ioFailure, `Cannot read "${path}": ${message}`);
  });
  return parseResolvConf(text);
}

/** Somebody may want to know why an address has changed hands. */
function reportReclaimed(dead: readonly Dead[]): void {
  for (const { reservation: { name, key }, why } of dead) {
    console.error(`host-local: reclaimed ${name}${key ? ` of ${describeKey(key)}` : ""}: ${why}`);
  }
}

async function check(req: Request<Conf>): Promise<void> {
  const key = keyOf(req);
  using store = await openStoreIfExists(storeOptions(req));
  const names = store ? held(store, key).map(({ name }) => name) : [];
  const reported = req.prevResult?.ips.map(({ address }) => parseCidr(address)!) ?? [];
  const missing = reported
    .filter((ip) => req.conf.sets.some((set) => rangeOf(set, ip)))
    .map(formatIp).filter((name) => !names.includes(name));
  if (names.length > 0 && missing.length === 0) return;
  const what = missing.length > 0 ? `address "${missing.join(", ")}"` : "any address";
  throw new CniError(
    codes.checkFailed,
    `Cannot find a reservation of ${what}: nothing in "${req.conf.dataDir}/${req.network}" is reserved so for ${
      describeKey(key)
    }`,
  );
}

/** Reservations of an attachment; files of old releases name the container alone. */
function held(store: Store, key: ContainerInterface): Reservation[] {
  const own = store.heldBy(key);
  return own.length > 0 ? own : store.heldBy({ ...key, ifName: "" });
}

async function del(req: Request<Conf>): Promise<void> {
  using store = await openStoreIfExists(storeOptions(req));
  if (store) await release(store, held(store, keyOf(req)));
}

async function release(store: Store, reservations: readonly Reservation[]): Promise<void> {
  const entries = entriesWithout(reservations, (key) => store.entry(key));
  await store.applyAll(planRelease(store.layout, reservations, entries));
}

/** Files of old releases name the container alone: any of its interfaces keeps them. */
async function gc(req: GcRequest<Conf>): Promise<void> {
  using store = await openStoreIfExists(storeOptions(req));
  if (!store) return;
  const valid = new Set(req.valid.flatMap(({ containerId, ifName }) => {
    const key = { containerId: containerId.trim(), ifName };
    return [formatKey(key), formatKey({ ...key, ifName: "" })];
  }));
  const stale = store.all().filter(({ key }) => !key || !valid.has(formatKey(key)));
  await release(store, stale);
}

async function status(req: Request<Conf>): Promise<void> {
  using store = await openStore(storeOptions(req)).catch(unavailable);
  await store.probe().catch(unavailable);
  req.conf.sets.forEach((set, index) => {
    const spans = spansOf(set, req.conf.exclude);
    const { size, held, available } = availability(store, spans);
    if (available) return;
    throw new CniError(
      codes.notAvailable,
      `Cannot hand out addresses of range set ${index}: ${held} of ${size} in ${
        formatSet(set)
      } are held`,
      describeHolders(store, spans),
    );
  });
}

function unavailable(error: unknown): never {
  const { msg, details } = toCniError(error);
  throw new CniError(codes.notAvailable, msg, details);
}

if (import.meta.main) await serve(plugin);
