/**
 * The master: the link that a macvlan, ipvlan or vlan stands on.
 *
 * @module
 */
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
import { look } from "./look.ts";

/** The configuration keys of a plugin with a master. */
export const masterFields = {
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

/** What the keys mean. */
export interface MasterConf {
  readonly master: string;
  readonly linkInContainer: boolean;
  readonly mtu: number;
}

/** A master and where it is. */
export interface Master {
  readonly link: Link;
  /** The container's namespace, where the master is there; absent on the host. */
  readonly netns: NetnsRef | undefined;
}

type MasterRequest = Pick<Request<MasterConf>, "conf" | "host" | "netns" | "sandbox">;

/**
 * Finds the configured master, or that of the default route. Throws code 103, and
 * names the links there are, when there is none.
 */
export async function findMaster(req: MasterRequest): Promise<Master> {
  const netns = req.conf.linkInContainer ? containerNetns(req) : undefined;
  const name = req.conf.master || await defaultMaster(req, netns);
  const [link] = await look(req.host, showLink(name, { netns }));
  if (link) return { link, netns };
  const where = netns ? "in the container" : "on this host";
  const links = (await look(req.host, showLinks({ netns }))).filter(isCandidate);
  const names = links.map(({ name }) => `"${name}"`).join(", ") || "none";
  throw new CniError(
    codes.objectMissing,
    `Cannot use master "${name}": no such link ${where}; there are: ${names}`,
  );
}

function isCandidate({ name, alias = "" }: Link): boolean {
  return name !== "lo" && !alias.startsWith("cni:");
}

/** The device of the default route; IPv4 first, the lowest metric first, as the kernel lists them. */
async function defaultMaster(
  { host }: MasterRequest,
  netns: NetnsRef | undefined,
): Promise<string> {
  for (const family of [4, 6] as const) {
    const text = await host.query(showDefaultRoutes(family, { netns }), {
      why: "look at default routes",
      tolerate: ["unsupported"],
    });
    const dev = parseRoutes(text ?? "", family).find(isUsable)?.dev;
    if (dev) return dev;
  }
  throw new CniError(
    codes.objectMissing,
    'Cannot choose a master: there is no default route, and "master" is not set',
  );
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

/** Checks that a link of the container stands on a master. */
export function compareMaster(link: Link, master: Master): string[] {
  const same = master.netns
    ? link.linkName === master.link.name
    : link.linkName === undefined && link.linkIndex === master.link.index;
  return same ? [] : [`container interface "${link.name}" does not stand on "${master.link.name}"`];
}
