/**
 * Chooses an attachment's addresses: looks at the reservations, changes nothing.
 *
 * @module
 */
import { CniError, codes } from "../../cni/error.ts";
import type { ContainerInterface } from "../../cni/attachment_key.ts";
import { isSameInterface } from "../../cni/attachment_key.ts";
import type { Ip } from "../../host/ip.ts";
import { formatIp, parseIp, sameIp } from "../../host/ip.ts";
import { formatAge } from "../../host/lock.ts";
import type { Candidate, Span } from "./allocator.ts";
import { capacity, next, spansOf, startAfter } from "./allocator.ts";
import type { Conf } from "./conf.ts";
import type { Netns } from "./liveness.ts";
import { isSame } from "./liveness.ts";
import type { RangeSet } from "./range.ts";
import { formatSet, rangeOf } from "./range.ts";
import type { EntryChange } from "./layout.ts";
import type { Choice, Dead, Decision } from "./plan.ts";
import { entriesWithout } from "./plan.ts";
import type { Reservation } from "./reservation.ts";
import { describeKey } from "./reservation.ts";
import type { Store } from "./store.ts";

/** A request for addresses. */
export interface Wish {
  readonly key: ContainerInterface;
  /** The namespace of the attachment, when there is one. */
  readonly netns: Netns | undefined;
  readonly requests: readonly Ip[];
}

/** Decides the changes of an ADD. Throws codes 102 and 104. */
export function decide(store: Store, conf: Conf, wish: Wish): Decision {
  const { key } = wish;
  const requests = assignRequests(conf.sets, wish.requests);
  const before = store.heldBy(key).map(({ name }) => store.standing(parseIp(name)!));
  const own = before.filter((standing) => standing.is === "held")
    .map(({ reservation }) => reservation.name);
  const mine = keptAddresses(store, conf, { ...wish, own });
  const choices = conf.sets.map((set, index) => {
    const place = { store, conf, set, index };
    const request = requests[index];
    const ip = mine.find((ip) => rangeOf(set, ip));
    if (ip) return keep(place, ip, { request, key });
    return request ? reserveRequested(place, request) : reserveNext(place);
  });
  const added = choices.filter(({ held }) => !held);
  const names = [...own, ...added.map(({ ip }) => formatIp(ip))];
  const dead = [...before.filter((standing) => standing.is === "leftover"), ...deadOf(added)];
  return { key, choices, dead, entries: entriesAfter(store, wish, { names, dead }) };
}

function deadOf(choices: readonly Choice[]): Dead[] {
  return choices.map(({ clear }) => clear).filter((one) => one !== undefined);
}

function entriesAfter(
  store: Store,
  { key, netns }: Wish,
  { names, dead }: { readonly names: readonly string[]; readonly dead: readonly Dead[] },
): EntryChange[] {
  const lost = dead.map(({ reservation }) => reservation).filter((one) =>
    !one.key || !isSameInterface(one.key, key)
  );
  const before = store.entry(key);
  const sameBoot = before?.boot === store.boot ? before?.netns : undefined;
  const known = netns ?? sameBoot;
  const after = {
    names,
    boot: store.boot,
    ...(known && { netns: known }),
  };
  return [
    ...entriesWithout(lost, (owner) => store.entry(owner)),
    { key, before, after },
  ];
}

/** One range set, and where its addresses are kept. */
interface Place {
  readonly store: Store;
  readonly conf: Conf;
  readonly set: RangeSet;
  readonly index: number;
}

/** Which requested address each set serves: one each. Throws when one is left over. */
export function assignRequests(
  sets: readonly RangeSet[],
  requests: readonly Ip[],
): (Ip | undefined)[] {
  const pending = requests.filter((ip, i) =>
    requests.findIndex((other) => sameIp(other, ip)) === i
  );
  const assigned = sets.map((set) => {
    const found = pending.findIndex((ip) => rangeOf(set, ip));
    return found < 0 ? undefined : pending.splice(found, 1)[0];
  });
  if (pending.length === 0) return assigned;
  throw new CniError(
    codes.noAddress,
    `Cannot reserve addresses: failed to allocate all requested IPs: ${
      pending.map(formatIp).join(" ")
    }`,
    `each range set gives one address: ${sets.map(formatSet).join("; ")}`,
  );
}

/** Addresses that the attachment keeps. Throws when it must not ask again. */
function keptAddresses(
  store: Store,
  conf: Conf,
  { key, netns, own }: Wish & { readonly own: readonly string[] },
): Ip[] {
  const legacy = store.heldBy({ ...key, ifName: "" }).map(({ name }) => parseIp(name)!)
    .filter((ip) => store.standing(ip).is === "held");
  const addresses = [...own.map((name) => parseIp(name)!), ...legacy]
    .filter((ip) => conf.sets.some((set) => rangeOf(set, ip)));
  const first = addresses[0];
  if (!first) return [];
  if (conf.onDuplicate === "error" || legacy.length > 0) throw duplicate(first, key);
  const before = store.entry(key)?.netns;
  if (before && netns && !isSame(before, netns) && !store.isGone(before)) {
    throw new CniError(
      codes.alreadyExists,
      `Cannot reserve addresses for ${describeKey(key)} again: it holds ${
        formatIp(first)
      } in another namespace, "${before.path}", that is still there`,
    );
  }
  return addresses;
}

function duplicate(ip: Ip, { containerId }: ContainerInterface): CniError {
  return new CniError(
    codes.alreadyExists,
    `Cannot reserve an address: ${
      formatIp(ip)
    } has been allocated to ${containerId}, duplicate allocation is not allowed`,
  );
}

function keep(
  { set, index }: Place,
  own: Ip,
  wish: { readonly request: Ip | undefined; readonly key: ContainerInterface },
): Choice {
  if (wish.request && !sameIp(wish.request, own)) {
    throw new CniError(
      codes.alreadyExists,
      `Cannot reserve requested address "${formatIp(wish.request)}": ${
        describeKey(wish.key)
      } holds ${formatIp(own)} already`,
    );
  }
  return { set: index, ip: own, range: rangeOf(set, own)!, held: true };
}

/** A requested address: whoever had it must be gone for certain. */
function reserveRequested({ store, set, index }: Place, ip: Ip): Choice {
  const range = rangeOf(set, ip)!;
  if (sameIp(range.gateway, ip)) {
    throw failure(index, `requested ip ${formatIp(ip)} is subnet's gateway`);
  }
  const standing = store.standing(ip);
  const choice = { set: index, ip, range, held: false };
  if (standing.is === "free") return choice;
  const clear = deadOr(store, standing);
  if (clear) return { ...choice, clear };
  throw failure(
    index,
    `requested IP address ${formatIp(ip)} is not available in range set ${formatSet(set)}`,
    describeHolder(standing.reservation),
  );
}

function deadOr(
  store: Store,
  standing: Exclude<ReturnType<Store["standing"]>, { is: "free" }>,
): Dead | undefined {
  const { reservation } = standing;
  if (standing.is === "leftover") return { reservation, why: standing.why };
  return store.isAbandoned(reservation) ? { reservation, why: abandoned } : undefined;
}

const abandoned = "its network namespace is gone";

/** Looking at this many files in turn is cheaper than reading the names of all. */
const glance = 64;

/** The next address in turn. Holders are examined only when there is no other. */
function reserveNext({ store, conf, set, index }: Place): Choice {
  const spans = startAfter(spansOf(set, conf.exclude), store.last(index));
  const isHeld = (ip: Ip) => store.standing(ip).is === "held";
  const near = next(spans, isHeld, glance);
  const found = near ?? farther(store, spans, isHeld);
  if (!found) throw exhausted({ store, conf, set, index }, spans);
  const standing = store.standing(found.ip);
  const clear = standing.is === "free" ? undefined : deadOr(store, standing);
  return { ...found, set: index, held: false, ...(clear && { clear }) };
}

function farther(
  store: Store,
  spans: readonly Span[],
  isHeld: (ip: Ip) => boolean,
): Candidate | undefined {
  const names = new Set(store.names());
  return next(spans, (ip) => names.has(formatIp(ip))) ?? next(spans, isHeld) ??
    next(spans, (ip) => !store.isAbandoned(store.read(formatIp(ip))!));
}

function exhausted({ store, set, index }: Place, spans: readonly Span[]): CniError {
  return failure(
    index,
    `no IP addresses available in range set: ${formatSet(set)}`,
    describeHolders(store, spans),
  );
}

function failure(index: number, reason: string, details = ""): CniError {
  return new CniError(
    codes.noAddress,
    `Cannot reserve an address from range set ${index}: ${reason}`,
    details,
  );
}

/** How many addresses of a set can be handed out, of how many. Reads the directory. */
export function availability(
  store: Store,
  spans: readonly Span[],
): { readonly size: bigint; readonly held: number; readonly available: boolean } {
  const held = namesIn(store, spans).length;
  const size = capacity(spans);
  const available = BigInt(held) < size ||
    next(spans, (ip) => {
        const standing = store.standing(ip);
        return standing.is !== "free" && !deadOr(store, standing);
      }) !== undefined;
  return { size, held, available };
}

const listed = 10;

/** Holders of the addresses of a set: the first ten, and the number of others. */
export function describeHolders(store: Store, spans: readonly Span[]): string {
  const names = namesIn(store, spans);
  const first = names.slice(0, listed).map((name) => store.read(name))
    .filter((one) => one !== undefined).map(describeHolder);
  const more = names.length > listed ? [`and ${names.length - listed} more`] : [];
  return [...first, ...more].join(", ");
}

function namesIn(store: Store, spans: readonly Span[]): string[] {
  return store.names().map((name) => ({ name, ip: parseIp(name)! }))
    .filter(({ ip }) =>
      spans.some(({ range, first, last }) =>
        range.subnet.family === ip.family && first <= ip.bits && ip.bits <= last
      )
    )
    .sort((a, b) => a.ip.bits < b.ip.bits ? -1 : 1)
    .map(({ name }) => name);
}

function describeHolder({ name, key, madeAt }: Reservation): string {
  const age = formatAge(Math.max(0, Date.now() - madeAt));
  return `${name} is held by ${key ? describeKey(key) : "nobody"} for ${age}`;
}
