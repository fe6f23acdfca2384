/**
 * The master: the link that a macvlan, ipvlan or vlan stands on.
 *
 * @module
 */
import type { Field } from "../cni/decode.ts";
import { boolean, integer, stringThat, withDefault } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import { isIfName } from "../cni/names.ts";
import type { Request } from "../cni/plugin.ts";
import type { NetnsRef } from "../host/command.ts";
import type { Link } from "../host/ip_link.ts";
import { showLink, showLinks } from "../host/ip_link.ts";
import type { KernelRoute } from "../host/ip_route.ts";
import { parseRoutes, showDefaultRoutes } from "../host/ip_route.ts";
import { containerNetns } from "./container.ts";
import { queryLinks } from "./links.ts";

/** The configuration keys of a plugin with a master. */
export const masterFields: {
  readonly master: Field<string, true>;
  readonly linkInContainer: Field<boolean, true>;
  readonly mtu: Field<number, true>;
} = {
  master: withDefault(
    stringThat("name of a link", (text) => text === "" || isIfName(text)),
    "",
    "Link to stand on.",
    "the default route's",
  ),
  linkInContainer: withDefault(
    boolean(),
    false,
    "Look for the master inside the container.",
  ),
  mtu: withDefault(
    integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    0,
    "MTU in bytes, at most the master's.",
    "the master's",
  ),
};

/** Values of the keys. */
export interface MasterConf {
  /** Name of the master; empty for that of the default route. */
  readonly master: string;
  /** Whether the master is inside the container. */
  readonly linkInContainer: boolean;
  /** Bytes; 0 for the master's. */
  readonly mtu: number;
  /** Of a macvlan or ipvlan. */
  readonly mode?: string;
}

/** A master and where it is. */
export interface Master {
  /** The master. */
  readonly link: Link;
  /** The container's namespace, where the master is there; absent on the host. */
  readonly netns: NetnsRef | undefined;
}

/** The part of a request that finding a master needs. */
export type MasterRequest = Pick<Request<MasterConf>, "conf" | "host" | "netns" | "sandbox">;

/**
 * Finds the configured master (or another one that is named), else that of the default
 * route. Throws code 103, and names the links there are, when there is none.
 */
export async function findMaster(req: MasterRequest, name = req.conf.master): Promise<Master> {
  const master = await seekMaster(req, name);
  if (typeof master !== "string") return master;
  throw new CniError(codes.objectMissing, master);
}

/** STATUS: throws code 50 without a master on the host; one in a container cannot be looked for. */
export async function requireMaster(req: MasterRequest): Promise<void> {
  if (req.conf.linkInContainer) return;
  const master = await seekMaster(req, req.conf.master);
  if (typeof master === "string") throw new CniError(codes.notAvailable, master);
}

/** A master, or why there is none. */
async function seekMaster(req: MasterRequest, configured: string): Promise<Master | string> {
  const netns = masterNetns(req);
  const name = configured || await defaultMaster(req, netns);
  if (name === undefined) {
    return `Cannot choose a master: there is no default route ${
      placeOf(netns)
    }, and "master" is not set`;
  }
  const [link] = await queryLinks(req.host, showLink(name, { netns }));
  if (link) return { link, netns };
  const links = (await queryLinks(req.host, showLinks({ netns }))).filter(isCandidate);
  const names = links.map(({ name }) => `"${name}"`).join(", ") || "none";
  return `Cannot use master "${name}": no such link ${placeOf(netns)}; there are: ${names}`;
}

function masterNetns(req: MasterRequest): NetnsRef | undefined {
  return req.conf.linkInContainer ? containerNetns(req) : undefined;
}

function placeOf(netns: NetnsRef | undefined): string {
  return netns ? "in the container" : "on this host";
}

function isCandidate({ name, alias = "" }: Link): boolean {
  return name !== "lo" && !alias.startsWith("cni:");
}

/** The device of the default route; IPv4 first, the lowest metric first, as the kernel lists them. */
async function defaultMaster(
  { host }: MasterRequest,
  netns: NetnsRef | undefined,
): Promise<string | undefined> {
  for (const family of [4, 6] as const) {
    const text = await host.query(showDefaultRoutes(family, { netns }), {
      why: "look at default routes",
      tolerate: ["unsupported"],
    });
    const dev = parseRoutes(text ?? "", family).find(isUsable)?.dev;
    if (dev) return dev;
  }
  return undefined;
}

function isUsable({ dev, unicast }: KernelRoute): boolean {
  return unicast && dev !== undefined && dev !== "lo";
}

/** The MTU of a link on this master, in bytes. Throws code 7 for one above the master's. */
export function mtuBelow({ link }: Master, { mtu }: MasterConf): number {
  if (mtu >= 0 && mtu <= link.mtu) return mtu || link.mtu;
  throw new CniError(
    codes.invalidNetworkConfig,
    `invalid MTU ${mtu}, must be [0, master MTU(${link.mtu})]`,
  );
}

/**
 * What it means when the kernel makes no link on a master because the packets of the master
 * are taken already. `others` is the kind that may have them.
 */
export function takenMaster({ name, master }: Link, others: string): string {
  return master === undefined
    ? `${others} links or others take the packets of "${name}": choose another master, or the same kind`
    : `"${name}" is a port of "${master}": choose that as the master`;
}

/**
 * CHECK: compares a container's interface with what is configured of mode, MTU and master;
 * gives a line for each difference. A master that the configuration leaves open was chosen at
 * ADD, and its link would have gone with it.
 */
export async function compareBelow(req: MasterRequest, link: Link): Promise<string[]> {
  const { conf: { mode, mtu } } = req;
  const own = `container interface "${link.name}"`;
  return [
    ...(mode === undefined || link.mode === mode
      ? []
      : [`${own} is in mode ${link.mode}, expected ${mode}`]),
    ...(mtu <= 0 || link.mtu === mtu ? [] : [`${own} has MTU ${link.mtu}, expected ${mtu}`]),
    ...await compareMaster(req, link),
  ];
}

async function compareMaster(req: MasterRequest, link: Link): Promise<string[]> {
  const { host, conf: { master: name } } = req;
  if (!name) return [];
  const netns = masterNetns(req);
  const [master] = await queryLinks(host, showLink(name, { netns }));
  if (!master) return [`master "${name}" is missing ${placeOf(netns)}`];
  const same = netns
    ? link.linkName === master.name
    : link.linkName === undefined && link.linkIndex === master.index;
  return same ? [] : [`container interface "${link.name}" does not stand on "${name}"`];
}
