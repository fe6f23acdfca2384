/**
 * ptp: a routed veth pair. All of the container's traffic goes through the host
 * end, which holds each gateway as a /32 or /128 of its own.
 *
 * Owns: the veth pair (`vethXXXXXXXX` on the host, marked by its alias), the
 * host's address and route on it, masquerade rules with `ipMasq`, and the
 * addresses its IPAM plugin reserves. Runs: `ip`, `sh`, `nsenter`, with `ipMasq`
 * `iptables-restore` or `nft`, and the IPAM plugin.
 *
 * ```json
 * {
 *   "cniVersion": "1.1.0", "name": "p2p", "type": "ptp", "ipMasq": true,
 *   "ipam": { "type": "host-local", "subnet": "10.1.1.0/24" }
 * }
 * ```
 *
 * @module
 */
import type { Infer } from "../cni/decode.ts";
import type { GcRequest, Request } from "../cni/plugin.ts";
import type { Result } from "../cni/types.ts";
import type { NetnsRef } from "../host/command.ts";
import type { Link } from "../host/ip_link.ts";
import type { Step } from "../host/step.ts";
import type { RouteSpec } from "../host/ip_route.ts";
import type { Address } from "../recipes/configure.ts";
import type { AttachmentNames } from "../recipes/attachment.ts";
import type { VethPlan } from "../recipes/veth.ts";
import { boolean, integer, object, optional, refine, withDefault } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import { definePlugin } from "../cni/plugin.ts";
import { dnsDecoder, ipamDecoder } from "../cni/sections.ts";
import { serve } from "../cni/serve.ts";
import { addAddress } from "../host/ip_addr.ts";
import { distinctCidrs, formatCidr, hostPrefix, network, width } from "../host/ip.ts";
import { setLink, showLink } from "../host/ip_link.ts";
import { addRoute } from "../host/ip_route.ts";
import {
  compareContainer,
  compareLink,
  gatherCheck,
  requirePrevResult,
  throwDifferences,
} from "../recipes/check.ts";
import {
  addressesOf,
  addRoutes,
  bringUp,
  configureInterface,
  knownAddresses,
} from "../recipes/configure.ts";
import { containerNetns, liveNetns } from "../recipes/container.ts";
import { overrideDns } from "../recipes/dns.ts";
import { enableForwarding } from "../recipes/forwarding.ts";
import { addAddresses, delWithIpam, gcWithIpam, needsInterface } from "../recipes/ipam.ts";
import { masquerade, masqueradeField } from "../recipes/masquerade.ts";
import { attachmentNames } from "../recipes/attachment.ts";
import { requireTools } from "../recipes/status.ts";
import { queryLinks } from "../recipes/links.ts";
import {
  createVeth,
  enableFamilies,
  gcVeths,
  refuseAdvertisements,
  removeVeth,
} from "../recipes/veth.ts";

/** An ADD needs an IPAM plugin; a DEL without one still removes the pair. */
const conf = refine(
  object({
    ipMasq: withDefault(
      boolean(),
      false,
      "Masquerade the container's addresses.",
    ),
    ipMasqBackend: masqueradeField,
    mtu: withDefault(
      integer({ min: 0, max: 65535 }),
      0,
      "MTU of both ends in bytes.",
      "the kernel's",
    ),
    ipam: withDefault(
      ipamDecoder,
      { type: "" },
      "IPAM plugin and its options; every address needs a gateway.",
      "**required**",
    ),
    dns: optional(dnsDecoder, "Name resolution for the result, in place of the IPAM plugin's."),
  }),
  ({ ipam }, report) => {
    if (ipam.type === "") {
      report("ipam.type", "expected name of an IPAM plugin but received nothing");
    }
  },
);
type Conf = Infer<typeof conf>;

/** The ptp plugin. */
export const plugin = definePlugin<Conf>({
  type: "ptp",
  about: "connects a container to its host by a routed veth pair",
  needs: "iproute2; `veth`; for `ipMasq` iptables or nftables",
  permissions: { run: "any", read: true, write: true },
  conf,
  add,
  check,
  del,
  gc,
  status,
  repair,
});

async function add(req: Request<Conf>): Promise<Result> {
  const own = await attachmentNames(req);
  const pair = { own, netns: containerNetns(req), ifName: req.ifName, mtu: req.conf.mtu };
  const early = await needsInterface(req);
  if (early) await req.host.apply(planEarly(pair));
  const result = resultOf(req, { own, ipam: await addAddresses(req) });
  const addresses = requireGateways(result);
  await req.host.apply(early ? planLayer3({ ...pair, result }) : planAdd({ ...pair, result }));
  if (req.conf.ipMasq) {
    await masquerade(req).add(addresses.map(({ cidr }) => cidr));
  }
  return result;
}

function resultOf(
  req: Request<Conf>,
  { own, ipam }: { own: AttachmentNames; ipam: Result },
): Result {
  const mtu = req.conf.mtu > 0 ? { mtu: req.conf.mtu } : {};
  return {
    interfaces: [
      { name: own.hostVeth, mac: own.hostMac, ...mtu },
      { name: req.ifName, mac: own.containerMac, ...mtu, sandbox: req.netns },
    ],
    ips: ipam.ips.map((ip) => ({ ...ip, interface: 1 })),
    routes: ipam.routes,
    dns: overrideDns(req.conf.dns, ipam.dns),
  };
}

/** ptp routes everything through gateways: each address must have one. */
function requireGateways(result: Result): Address[] {
  const addresses = addressesOf(result);
  const without = addresses.find(({ gateway }) => !gateway);
  if (without) {
    throw new CniError(
      codes.invalidNetworkConfig,
      `Cannot use address "${formatCidr(without.cidr)}": ptp needs a gateway for it`,
    );
  }
  return addresses;
}

/** The pair, and the result that it is configured from. */
export interface AddFacts extends VethPlan {
  readonly result: Result;
}

/** Plans everything in two processes: one on the host, one in the container. */
export function planAdd(facts: AddFacts): Step[] {
  return [...planPair(facts), ...planLayer3(facts)];
}

/** Plans what needs no address, for an IPAM plugin that talks over the interface. */
export function planEarly(pair: VethPlan): Step[] {
  return [...planPair(pair), ...hostUp(pair), ...bringUp(pair)];
}

function planPair(pair: VethPlan): Step[] {
  return [...createVeth(pair), ...refuseAdvertisements(pair.own.hostVeth)];
}

/** Plans addresses and routes of both ends, which may be up already. */
export function planLayer3({ own, netns, ifName, result }: AddFacts): Step[] {
  const addresses = addressesOf(result);
  const families = addresses.map(({ cidr }) => cidr.family);
  return [
    ...enableFamilies(own.hostVeth, families),
    ...hostUp({ own }),
    ...hostEnd(own.hostVeth, addresses),
    ...enableForwarding(families),
    ...configureInterface({ netns, ifName, result, dad: false, prefixRoutes: false }),
    ...gatewayRoutes(addresses, { netns, ifName }),
    ...addRoutes({ netns, ifName, result }),
  ];
}

function hostUp({ own: { hostVeth } }: Pick<VethPlan, "own">): Step[] {
  return [{ why: `set host interface "${hostVeth}" up`, do: setLink(hostVeth, { up: true }) }];
}

/** The host end holds each gateway once, and a route to each of the container's addresses. */
function hostEnd(dev: string, addresses: readonly Address[]): Step[] {
  return [
    ...distinctCidrs(addresses.map(({ gateway }) => hostPrefix(gateway!))).map((cidr) => ({
      why: `add gateway ${formatCidr(cidr)} to host interface "${dev}"`,
      do: addAddress(dev, { cidr, nodad: true }),
    })),
    ...distinctCidrs(addresses.map(({ cidr }) => hostPrefix(cidr))).map((dst) => ({
      why: `add host route to ${formatCidr(dst)}`,
      do: addRoute({ dst, dev, scope: dst.family === 4 ? "host" : undefined }),
    })),
  ];
}

/** Each gateway is reached directly, and the rest of each subnet through it. */
function gatewayRoutes(
  addresses: readonly Address[],
  { netns, ifName: dev }: { netns: NetnsRef; ifName: string },
): Step[] {
  const seen = new Set<string>();
  const routes = addresses.flatMap(({ cidr, gateway }): RouteSpec[] => [
    {
      dst: hostPrefix(gateway!),
      scope: cidr.family === 4 ? "link" : undefined,
      dev,
      src: cidr,
    },
    ...(cidr.prefix < width(cidr.family)
      ? [{ dst: network(cidr), via: gateway, dev, src: cidr }]
      : []),
  ]).filter(({ dst }) => !seen.has(formatCidr(dst)) && seen.add(formatCidr(dst)));
  return routes.map((route) => ({
    why: `add route ${formatCidr(route.dst)} to container interface "${dev}"`,
    do: addRoute({ ...route, netns }),
  }));
}

async function check(req: Request<Conf>): Promise<void> {
  await req.ipam.check();
  const { result, facts } = await gatherCheck(req);
  const own = await attachmentNames(req);
  throwDifferences(req.network, [
    ...compareContainer(req, facts, { result, kind: "veth" }),
    ...await compareHostEnd(req, { result, own }),
    ...(req.conf.ipMasq ? await masquerade(req).check(knownAddresses(result, undefined)!) : []),
  ]);
}

/** The recorded host end: a veth of that address, up. */
async function compareHostEnd(
  req: Request<Conf>,
  { result, own }: { result: Result; own: AttachmentNames },
): Promise<string[]> {
  const entry = result.interfaces.find(({ sandbox }) => !sandbox);
  const name = entry?.name ?? own.hostVeth;
  const [link] = await queryLinks(req.host, showLink(name));
  if (!link) return [`host interface "${name}" is missing`];
  return [
    ...compareLink(link, { kind: "veth", mac: entry?.mac, where: "host interface" }),
    ...(link.up ? [] : [`host interface "${name}" is down`]),
  ];
}

async function del(req: Request<Conf>): Promise<void> {
  const own = await attachmentNames(req);
  const netns = liveNetns(req);
  const { ifName, prevResult } = req;
  let inside: Link | undefined;
  await delWithIpam(req, [
    {
      why: "remove the veth pair",
      run: async () => {
        inside = await removeVeth(req.host, { own, ifName, netns, prevResult });
      },
    },
    {
      why: "remove masquerade rules",
      when: req.conf.ipMasq,
      run: () => masquerade(req).del(knownAddresses(prevResult, inside)),
    },
  ]);
}

async function gc(req: GcRequest<Conf>): Promise<void> {
  await gcWithIpam(req, [
    { why: "remove stale veth pairs", run: () => gcVeths(req.host, req) },
    {
      why: "remove stale masquerade rules",
      when: req.conf.ipMasq,
      run: () => masquerade(req).gc(req.valid),
    },
  ]);
}

async function status(req: Request<Conf>): Promise<void> {
  requireTools(["ip", "sh", "nsenter"]);
  if (req.conf.ipMasq) masquerade(req).status();
  await req.ipam.status();
}

async function repair(req: Request<Conf>): Promise<string[]> {
  if (!req.conf.ipMasq) return [];
  return await masquerade(req).repair(knownAddresses(requirePrevResult(req), undefined)!);
}

if (import.meta.main) await serve(plugin);
