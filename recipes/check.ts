/**
 * CHECK: compares what an ADD recorded with what is there. Everything that
 * differs is reported at once; what other plugins add is not our business.
 *
 * @module
 */
import { CniError, codes } from "../cni/error.ts";
import type { Request } from "../cni/plugin.ts";
import type { Interface, IpConfig, Result, Route } from "../cni/types.ts";
import type { NetnsRef } from "../host/command.ts";
import { formatCidr, isDefault, network, parseCidr, parseIp, sameIp } from "../host/ip.ts";
import type { Link } from "../host/ip_link.ts";
import { showLink } from "../host/ip_link.ts";
import type { KernelRoute } from "../host/ip_route.ts";
import { mainTable, parseRoutes, showRoutes } from "../host/ip_route.ts";
import type { Host } from "../ns/machine.ts";
import { containerNetns } from "./container.ts";
import { queryLinks } from "./links.ts";

/** Facts of a CHECK inside the container. */
export interface ContainerFacts {
  /** The container's namespace. */
  readonly netns: NetnsRef;
  /** The interface; absent when there is none of that name. */
  readonly link: Link | undefined;
  /** The routes of both families, of every table. */
  readonly routes: readonly KernelRoute[];
}

/** Looks at an interface and the routes of the container. */
export async function containerFacts(
  host: Host,
  { netns, ifName }: { netns: NetnsRef; ifName: string },
): Promise<ContainerFacts> {
  const [link] = await queryLinks(host, showLink(ifName, { netns }));
  const families = await Promise.all(([4, 6] as const).map(async (family) => {
    const text = await host.query(showRoutes(family, { netns }), {
      why: "look at routes in the container",
      tolerate: ["unsupported"],
    });
    return parseRoutes(text ?? "", family);
  }));
  return { netns, link, routes: families.flat() };
}

/** The recorded result of the ADD. Throws code 7 when the runtime gave none. */
export function requirePrevResult(
  req: Pick<Request<unknown>, "prevResult">,
): Result {
  if (req.prevResult) return req.prevResult;
  throw new CniError(codes.invalidNetworkConfig, "Required prevResult missing");
}

/** The recorded entry of the container's interface. */
export function containerEntry(
  result: Result,
  { ifName, netns }: { ifName: string; netns: string },
): Interface | undefined {
  return result.interfaces.findLast(({ name, sandbox }) => name === ifName && sandbox === netns);
}

/** Checks the container's end against the record; gives a line for each difference. */
export function compareContainer(
  req: Pick<Request<unknown>, "ifName" | "netns">,
  facts: ContainerFacts,
  { result, kind }: { result: Result; kind?: string | undefined },
): string[] {
  const entry = containerEntry(result, req);
  if (!entry) {
    return [
      `no interface "${req.ifName}" with sandbox "${req.netns}" in prevResult`,
    ];
  }
  const { link, routes } = facts;
  if (!link) return [`container interface "${req.ifName}" is missing`];
  const index = result.interfaces.indexOf(entry);
  const own = result.ips.filter((ip) => ip.interface === undefined || ip.interface === index);
  return [
    ...compareLink(link, { kind, mac: entry.mac, where: "container interface" }),
    ...own.flatMap((ip) => compareAddress(link, ip)),
    ...result.routes.flatMap((route) => compareRoute({ link, routes }, route)),
  ];
}

/** Checks kind (any, when none is given) and hardware address of a link. */
export function compareLink(
  link: Link,
  { kind, mac, where }: {
    kind?: string | undefined;
    mac?: string | undefined;
    where: string;
  },
): string[] {
  const problems: string[] = [];
  if (kind !== undefined && link.kind !== kind) {
    problems.push(
      `${where} "${link.name}" is of kind ${link.kind ?? "none"}, expected ${kind}`,
    );
  }
  if (mac !== undefined && link.mac !== mac.toLowerCase()) {
    problems.push(
      `${where} "${link.name}" has hardware address ${link.mac}, expected ${mac}`,
    );
  }
  return problems;
}

function compareAddress(link: Link, { address }: IpConfig): string[] {
  const wanted = parseCidr(address);
  const found = link.addresses.some(({ address: text, prefix }) => {
    const ip = parseIp(text);
    return wanted && ip && sameIp(ip, wanted) && prefix === wanted.prefix;
  });
  return found ? [] : [`container interface "${link.name}" lacks address ${address}`];
}

/**
 * Of a default route only its presence counts: another network's may stand first.
 * A plugin later in the chain (sbr, vrf) may have moved the interface's routes from
 * the main table to one of its own.
 */
function compareRoute(
  { link, routes }: { link: Link; routes: readonly KernelRoute[] },
  route: Route,
): string[] {
  const wanted = parseCidr(route.dst);
  if (!wanted) {
    return [`prevResult holds route "${route.dst}", which is no IP prefix`];
  }
  const dst = formatCidr(network(wanted));
  const table = route.table || mainTable;
  const gateway = !isDefault(wanted) && route.gw ? parseIp(route.gw) : undefined;
  const found = routes.some((kernel) =>
    kernel.unicast && kernel.dst === dst && hasGateway(kernel, gateway) &&
    (kernel.table === table || table === mainTable && kernel.dev === link.name) &&
    (!route.priority || kernel.metric === route.priority)
  );
  if (found) return [];
  const via = gateway ? ` via ${route.gw}` : "";
  const metric = route.priority ? ` metric ${route.priority}` : "";
  return [`route ${dst}${via}${metric} is missing from table ${table}`];
}

function hasGateway(
  kernel: KernelRoute,
  gateway: ReturnType<typeof parseIp>,
): boolean {
  if (!gateway) return true;
  const via = kernel.via === undefined ? undefined : parseIp(kernel.via);
  return via !== undefined && sameIp(via, gateway);
}

/** Throws code 105 with every difference, if there is one. */
export function throwDifferences(network: string, problems: readonly string[]): void {
  if (problems.length === 0) return;
  throw new CniError(
    codes.checkFailed,
    `Cannot confirm attachment to network "${network}": ${problems.join("; ")}`,
  );
}

/** The container's namespace, its facts and the record, as every CHECK starts. */
export async function gatherCheck(
  req: Request<unknown>,
): Promise<{ readonly result: Result; readonly facts: ContainerFacts }> {
  const netns = containerNetns(req);
  const result = requirePrevResult(req);
  const facts = await containerFacts(req.host, { netns, ifName: req.ifName });
  return { result, facts };
}
