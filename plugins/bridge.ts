/**
 * bridge: attaches a container to a Linux bridge by a veth pair, and can make
 * the bridge (or a link of a VLAN) the gateway of the container's subnets.
 *
 * Owns: the veth pair (`vethXXXXXXXX` on the host, marked by its alias),
 * masquerade rules with `ipMasq`, spoof-check chains with `macspoofchk`, and the
 * addresses its IPAM plugin reserves. The bridge, its addresses, VLAN gateway
 * links and the lock file of a bridge below `/run/cni/denocni/links` are shared
 * and stay. Runs: `ip`, `bridge`, `sh`, `nsenter`, with
 * `ipMasq` `iptables-restore` or `nft`, with `macspoofchk` `nft`, and the IPAM
 * plugin.
 *
 * ```json
 * {
 *   "cniVersion": "1.1.0", "name": "net", "type": "bridge", "isDefaultGateway": true,
 *   "ipam": { "type": "host-local", "subnet": "10.1.0.0/16" }
 * }
 * ```
 *
 * @module
 */
import type { NetnsRef } from "../host/command.ts";
import type { GcRequest, Request } from "../cni/plugin.ts";
import type { Interface, Result } from "../cni/types.ts";
import type { Link } from "../host/ip_link.ts";
import type { Step } from "../host/step.ts";
import type { Conf } from "./bridge/conf.ts";
import type { Facts } from "./bridge/host.ts";
import type { VlanGateway } from "./bridge/vlan.ts";
import { CniError, codes } from "../cni/error.ts";
import { definePlugin } from "../cni/plugin.ts";
import { serve } from "../cni/serve.ts";
import { emptyResult } from "../cni/types.ts";
import { parseVlans, showVlans } from "../host/bridge_vlan.ts";
import { showLink, showLinks, showPorts } from "../host/ip_link.ts";
import { addressesOf, addRoutes, bringUp, configureInterface } from "../recipes/configure.ts";
import { knownAddresses, waitForDetection } from "../recipes/configure.ts";
import { containerNetns, liveNetns } from "../recipes/container.ts";
import { overrideDns } from "../recipes/dns.ts";
import { addAddresses, delWithIpam, gcWithIpam, needsInterface } from "../recipes/ipam.ts";
import { queryLinks } from "../recipes/links.ts";
import { requestedMac } from "../recipes/mac.ts";
import { masquerade } from "../recipes/masquerade.ts";
import { attachmentNames, sharedMac } from "../recipes/attachment.ts";
import { holdSharedLink } from "../recipes/shared_link.ts";
import { spoofCheck } from "../recipes/spoof_check.ts";
import { requireTools } from "../recipes/status.ts";
import { gcVeths, removeVeth } from "../recipes/veth.ts";
import { conf } from "./bridge/conf.ts";
import { withDefaultRoutes, withGateways } from "./bridge/gateway.ts";
import { hasVlanGateway, planGateways, planHost, usesVlans } from "./bridge/host.ts";
import { vlanGatewayNames } from "./bridge/vlan.ts";

/** Ports that one Linux bridge can have (`BR_MAX_PORTS` of the kernel, less the reserved one). */
const maxPorts = 1023;

/** Index of the container's interface in a result. */
const containerIndex = 2;

/** The bridge plugin. */
export const plugin = definePlugin<Conf>({
  type: "bridge",
  about: "attaches a container to a Linux bridge",
  needs:
    "iproute2; `bridge`, `veth`; for `ipMasq` iptables or nftables; for `macspoofchk` nftables",
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
  const netns = containerNetns(req);
  using _ = await holdSharedLink(req.host, req.conf.bridge);
  const facts = await gather(req, netns);
  const early = await needsInterface(req);
  if (early) await req.host.apply(planEarly(req.conf, facts));
  const result = resultOf(req, { facts, ipam: await addAddresses(req) });
  const layer3 = { ...facts, result };
  await req.host.apply(early ? planGateways(req.conf, layer3) : planHost(req.conf, layer3));
  if (req.conf.macspoofchk) await spoofCheck(req).add(facts.own.hostVeth, facts.mac);
  await req.host.apply(planContainer(req.conf, layer3));
  if (req.conf.enabledad) await waitForDetection(req.host, facts);
  if (req.conf.ipMasq) {
    await masquerade(req).add(addressesOf(result).map(({ cidr }) => cidr));
  }
  return result;
}

/** Everything that needs no address: an IPAM plugin that asks the network finds the interface up. */
function planEarly(conf: Conf, facts: Facts): Step[] {
  return [...planHost(conf, { ...facts, result: emptyResult() }), ...bringUp(facts)];
}

async function gather(req: Request<Conf>, netns: NetnsRef): Promise<Facts> {
  const { conf, host, ifName } = req;
  const own = await attachmentNames(req);
  const [bridge] = await queryLinks(host, showLink(conf.bridge));
  if (bridge && bridge.kind !== "bridge") throw notABridge(bridge);
  const ownMac = await sharedMac(conf.bridge);
  const healthy = bridge && !/^[0:]*$/.test(bridge.mac);
  return {
    own,
    netns,
    ifName,
    mac: requestedMac(req) ?? own.containerMac,
    bridge,
    bridgeMac: healthy ? bridge.mac : ownMac,
    ownMac,
    vlanGateway: await gatherVlanGateway(req),
  };
}

function notABridge({ name, kind }: Link): CniError {
  return new CniError(
    codes.alreadyExists,
    `Cannot use bridge "${name}": a link of that name already exists but is not a bridge`,
    `its kind is ${kind ?? "none"}`,
  );
}

async function gatherVlanGateway(req: Request<Conf>): Promise<VlanGateway | undefined> {
  const { bridge, vlan } = req.conf;
  if (!hasVlanGateway(req.conf)) return undefined;
  const names = await vlanGatewayNames(bridge, vlan);
  const [link] = await queryLinks(req.host, showLink(names.name));
  return { ...names, mac: link?.mac ?? names.mac, link };
}

function resultOf(
  req: Request<Conf>,
  { facts, ipam }: { facts: Facts; ipam: Result },
): Result {
  const { conf } = req;
  const ips = withGateways(ipam.ips, conf).map((ip) => ({ ...ip, interface: containerIndex }));
  return {
    interfaces: interfacesOf(req, facts),
    ips,
    routes: withDefaultRoutes({ ...ipam, ips }, conf),
    dns: overrideDns(conf.dns, ipam.dns),
  };
}

function interfacesOf({ conf, netns }: Request<Conf>, facts: Facts): Interface[] {
  const { own, ifName, mac, vlanGateway } = facts;
  const mtu = conf.mtu > 0 ? { mtu: conf.mtu } : {};
  return [
    { name: conf.bridge, mac: facts.bridgeMac },
    { name: own.hostVeth, mac: own.hostMac, ...mtu },
    { name: ifName, mac, ...mtu, sandbox: netns },
    ...(vlanGateway ? [{ name: vlanGateway.name, mac: vlanGateway.mac }] : []),
  ];
}

/** The container's side, one process. */
export function planContainer(conf: Conf, facts: Facts & { result: Result }): Step[] {
  if (conf.disableContainerInterface) return [];
  if (!conf.ipam.type) return bringUp(facts);
  return [...configureInterface({ ...facts, dad: conf.enabledad }), ...addRoutes(facts)];
}

async function check(req: Request<Conf>): Promise<void> {
  const { compareContainer, gatherCheck, throwDifferences } = await import("../recipes/check.ts");
  const { compareBridge, comparePort } = await import("./bridge/check.ts");
  if (req.conf.ipam.type) await req.ipam.check();
  const { result, facts } = await gatherCheck(req);
  const links = await queryLinks(req.host, showLinks());
  const own = await attachmentNames(req);
  const vlans = usesVlans(req.conf)
    ? parseVlans(await req.host.query(showVlans()) ?? "")
    : undefined;
  throwDifferences(req.network, [
    ...compareBridge(req.conf, { result, links }),
    ...comparePort(req.conf, { result, links, own, inside: facts.link, vlans }),
    ...compareContainer(req, facts, { result, kind: "veth" }),
    ...(req.conf.macspoofchk ? await spoofCheck(req).check() : []),
    ...(req.conf.ipMasq ? await masquerade(req).check(knownAddresses(result, undefined)!) : []),
  ]);
}

async function del(req: Request<Conf>): Promise<void> {
  const { conf, host, ifName, prevResult } = req;
  const own = await attachmentNames(req);
  const netns = liveNetns(req);
  let inside: Link | undefined;
  await delWithIpam(req, [
    {
      why: "remove the veth pair",
      run: async () => {
        inside = await removeVeth(host, { own, ifName, netns, prevResult });
      },
    },
    { why: "remove the spoof check", when: conf.macspoofchk, run: () => spoofCheck(req).del() },
    {
      why: "remove masquerade rules",
      when: conf.ipMasq,
      run: () => masquerade(req).del(knownAddresses(prevResult, inside)),
    },
  ]);
}

async function gc(req: GcRequest<Conf>): Promise<void> {
  const { conf, host, valid } = req;
  await gcWithIpam(req, [
    { why: "remove stale veth pairs", run: () => gcVeths(host, req) },
    {
      why: "remove stale spoof checks",
      when: conf.macspoofchk,
      run: () => spoofCheck(req).gc(valid),
    },
    {
      why: "remove stale masquerade rules",
      when: conf.ipMasq,
      run: () => masquerade(req).gc(valid),
    },
  ]);
}

async function status(req: Request<Conf>): Promise<void> {
  const { conf } = req;
  requireTools(["ip", "bridge", "sh", "nsenter", ...(conf.macspoofchk ? ["nft"] as const : [])]);
  if (conf.ipMasq) masquerade(req).status();
  const ports = await queryLinks(req.host, showPorts(conf.bridge));
  if (ports.length >= maxPorts) {
    throw new CniError(
      codes.notAvailable,
      `Cannot serve ADD: bridge "${conf.bridge}" is full: it has ${ports.length} of ${maxPorts} ports`,
    );
  }
  if (conf.ipam.type) await req.ipam.status();
}

async function repair(req: Request<Conf>): Promise<string[]> {
  const { requirePrevResult } = await import("../recipes/check.ts");
  const { conf } = req;
  const result = requirePrevResult(req);
  const [, port, inside] = result.interfaces;
  return [
    ...(conf.macspoofchk && port && inside?.mac
      ? await spoofCheck(req).repair(port.name, inside.mac)
      : []),
    ...(conf.ipMasq ? await masquerade(req).repair(knownAddresses(result, undefined)!) : []),
  ];
}

if (import.meta.main) await serve(plugin);
