/**
 * wire: a veth pair between a container and a program on the host that reads and writes
 * its packets (a virtual switch, an analyser). The host end gets no address. Such a
 * program sees packets before hardware would have completed their checksums, so the
 * plugin can make the kernel complete them at once.
 *
 * Owns: the veth pair, and the addresses its IPAM plugin reserves. Runs: `ip`, `sh`,
 * `nsenter`, with `"checksums": true` `ethtool`, and the IPAM plugin.
 *
 * ```json
 * {
 *   "cniVersion": "1.1.0", "name": "tapped", "type": "wire", "checksums": true,
 *   "ipam": { "type": "host-local", "subnet": "10.1.4.0/24" }
 * }
 * ```
 *
 * @module
 */
import type { Command, NetnsRef, Step } from "@denocni/denocni/host";
import type { AttachmentNames, GcRequest, Infer, Request, Result } from "@denocni/denocni/plugin";
import { command, setLink } from "@denocni/denocni/host";
import {
  addAddresses,
  attachmentNames,
  boolean,
  compareContainer,
  configureContainerLink,
  containerNetns,
  createVeth,
  definePlugin,
  delWithIpam,
  gatherCheck,
  gcVeths,
  gcWithIpam,
  integer,
  ipamDecoder,
  liveNetns,
  object,
  refuseAdvertisements,
  removeVeth,
  requireTools,
  serve,
  throwDifferences,
  withDefault,
} from "@denocni/denocni/plugin";

const conf = object({
  mtu: withDefault(integer({ min: 0, max: 65535 }), 0, "MTU of both ends in bytes."),
  checksums: withDefault(boolean(), false, "Complete the checksums of packets at once."),
  ipam: withDefault(ipamDecoder, { type: "" }, "IPAM plugin and its options; none for layer 2."),
});
type Conf = Infer<typeof conf>;

/** The wire plugin. */
export const plugin = definePlugin<Conf>({
  type: "wire",
  about: "connects a container to a packet processor on its host",
  permissions: { run: ["ip", "sh", "nsenter", "ethtool"], read: true, write: [] },
  conf,
  add,
  check,
  del,
  gc,
  status,
});

async function add(req: Request<Conf>): Promise<Result> {
  const { ifName, conf: { mtu, checksums } } = req;
  const netns = containerNetns(req);
  const own = await attachmentNames(req);
  const ipam = await addAddresses(req);
  const result: Result = {
    ...ipam,
    interfaces: [
      { name: own.hostVeth, mac: own.hostMac },
      { name: ifName, mac: own.containerMac, sandbox: req.netns },
    ],
    ips: ipam.ips.map((ip) => ({ ...ip, interface: 1 })),
  };
  await req.host.apply(planAdd({ own, netns, ifName, mtu, checksums, result }));
  return result;
}

/** What a plan is made from. */
export interface AddFacts {
  readonly own: AttachmentNames;
  readonly netns: NetnsRef;
  readonly ifName: string;
  readonly mtu: number;
  readonly checksums: boolean;
  readonly result: Result;
}

/** A plan is a pure function: its test compares shell lines. */
export function planAdd({ own, netns, ifName, mtu, checksums, result }: AddFacts): Step[] {
  return [
    ...createVeth({ own, netns, ifName, mtu }),
    ...refuseAdvertisements(own.hostVeth),
    { why: `set host interface "${own.hostVeth}" up`, do: setLink(own.hostVeth, { up: true }) },
    ...(checksums ? [completeChecksums(ifName, netns)] : []),
    ...configureContainerLink({ netns, ifName, result, dad: false }),
  ];
}

/** It goes with the link, so it needs no undo of its own. */
function completeChecksums(ifName: string, netns: NetnsRef): Step {
  return {
    why: `complete checksums on container interface "${ifName}"`,
    do: command("ethtool", ["--features", ifName, "tx", "off"], { netns }),
  };
}

function showFeatures(ifName: string, netns: NetnsRef): Command {
  return command("ethtool", ["--show-features", ifName], { netns });
}

async function check(req: Request<Conf>): Promise<void> {
  if (req.conf.ipam.type) await req.ipam.check();
  const { result, facts } = await gatherCheck(req);
  throwDifferences(req.network, [
    ...compareContainer(req, facts, { result, kind: "veth" }),
    ...(req.conf.checksums && facts.link ? await compareChecksums(req, facts.netns) : []),
  ]);
}

async function compareChecksums({ host, ifName }: Request<Conf>, netns: NetnsRef) {
  const text = await host.query(showFeatures(ifName, netns), {
    why: `look at features of container interface "${ifName}"`,
  });
  const left = /^tx-checksumming: on/m.test(text ?? "");
  return left ? [`container interface "${ifName}" leaves checksums to hardware`] : [];
}

async function del(req: Request<Conf>): Promise<void> {
  const own = await attachmentNames(req);
  const search = { own, ifName: req.ifName, netns: liveNetns(req), prevResult: req.prevResult };
  await delWithIpam(req, [{
    why: "remove the veth pair",
    run: async () => void await removeVeth(req.host, search),
  }]);
}

async function gc(req: GcRequest<Conf>): Promise<void> {
  await gcWithIpam(req, [{ why: "remove stale veth pairs", run: () => gcVeths(req.host, req) }]);
}

async function status(req: Request<Conf>): Promise<void> {
  requireTools(["ip", "sh", "nsenter", ...(req.conf.checksums ? ["ethtool"] : [])]);
  if (req.conf.ipam.type) await req.ipam.status();
}

if (import.meta.main) await serve(plugin);
