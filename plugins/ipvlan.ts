/**
 * ipvlan: a link of the container's own on the network of a master, with the
 * master's hardware address. Host and container do not reach each other through it.
 *
 * Owns: the ipvlan link (it goes with the container's namespace) and the addresses
 * its IPAM plugin reserves. The master is left as it is; it must be up. Runs: `ip`,
 * `sh`, `nsenter`, and the IPAM plugin.
 *
 * ```json
 * {
 *   "cniVersion": "1.1.0", "name": "lan", "type": "ipvlan", "master": "eth0",
 *   "ipam": { "type": "host-local", "subnet": "192.0.2.0/24" }
 * }
 * ```
 *
 * @module
 */
import type { Infer, Issue } from "../cni/decode.ts";
import type { IpamTraits, Request } from "../cni/plugin.ts";
import type { Result } from "../cni/types.ts";
import type { Step } from "../host/step.ts";
import type { ContainerLink } from "../recipes/container_link.ts";
import type { Master } from "../recipes/master.ts";
import { map, object, oneOf, optional, withDefault } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import { definePlugin } from "../cni/plugin.ts";
import { dnsDecoder, ipamDecoder } from "../cni/sections.ts";
import { serve } from "../cni/serve.ts";
import { containerNetns } from "../recipes/container.ts";
import {
  addContainerLink,
  checkContainerLink,
  createOnMaster,
  delContainerLink,
  gcContainerLink,
} from "../recipes/container_link.ts";
import {
  compareBelow,
  findMaster,
  masterFields,
  mtuBelow,
  requireMaster,
  takenMaster,
} from "../recipes/master.ts";
import { attachmentNames } from "../recipes/attachment.ts";
import { requireTools } from "../recipes/status.ts";

const conf = object({
  ...masterFields,
  master: withDefault(
    masterFields.master.decoder,
    "",
    "Link to stand on.",
    "the only link of the plugins before it, else the default route's",
  ),
  mode: withDefault(
    map(oneOf(["l2", "l3", "l3s", ""]), (mode) => mode || "l2"),
    "l2",
    "`l2` switches packets; `l3` routes them, without broadcasts; `l3s` too, through the host's netfilter. All links of one master are in the mode of the last one made.",
  ),
  ipam: withDefault(
    ipamDecoder,
    { type: "" },
    "IPAM plugin and its options; may be absent where a plugin before it gives addresses.",
  ),
  dns: optional(
    dnsDecoder,
    "Name resolution for the result, in place of the IPAM plugin's or the plugins' before it.",
  ),
});
type Conf = Infer<typeof conf>;

/** The ipvlan plugin. */
export const plugin = definePlugin<Conf>({
  type: "ipvlan",
  about: "puts a container on the network of a master under the master's hardware address",
  needs: "iproute2; `ipvlan`",
  permissions: { run: "any", read: true, write: true },
  conf,
  ipamIssues,
  add,
  check,
  del: (req) => delContainerLink(req, { kind: "ipvlan" }),
  gc: gcContainerLink,
  status,
});

/** The modes that route carry no broadcasts. */
function ipamIssues({ mode, ipam }: Conf, { needsBroadcast }: IpamTraits): Issue[] {
  if (!needsBroadcast || mode === "l2") return [];
  const message = `"${mode}" carries no broadcasts, which "${ipam.type}" needs: use "l2"`;
  return [{ path: "mode", message }];
}

async function add(req: Request<Conf>): Promise<Result> {
  const { conf, ifName } = req;
  const addresses = chainedAddresses(req);
  const netns = containerNetns(req);
  const own = await attachmentNames(req);
  const master = await findMaster(req, conf.master || chainedMaster(req));
  const mtu = mtuBelow(master, conf);
  return await addContainerLink(req, {
    create: planLink(conf, { own, netns, ifName, mtu: conf.mtu, master }),
    mac: master.link.mac,
    mtu,
    dad: true,
    addresses,
  });
}

/** The result of the plugins before this one, where no IPAM plugin is asked. */
function chainedAddresses({ conf, prevResult }: Request<Conf>): Result | undefined {
  if (conf.ipam.type) return undefined;
  if (prevResult && prevResult.ips.length > 0) return prevResult;
  throw new CniError(
    codes.invalidNetworkConfig,
    "Cannot use network configuration: " +
      "ipam.type: expected name of an IPAM plugin, or a prevResult with addresses, but received nothing",
  );
}

/** The link that the plugins before this one have made; none when it is the first. */
function chainedMaster({ prevResult }: Request<Conf>): string {
  if (!prevResult) return "";
  const [first, ...others] = prevResult.interfaces;
  if (first?.name && others.length === 0) return first.name;
  throw new CniError(
    codes.invalidNetworkConfig,
    "chained master failure. PrevResult lacks a single named interface",
  );
}

type LinkFacts = Omit<ContainerLink, "type" | "mac"> & { readonly master: Master };

/** One process on the host; naming the link joins what configures it. */
export function planLink({ mode }: Pick<Conf, "mode">, { master, ...link }: LinkFacts): Step[] {
  const type = ["ipvlan", "mode", mode];
  const meaning = {
    busy: takenMaster(master.link, "macvlan"),
    invalid: `"${master.link.name}" must be an Ethernet link`,
  };
  return createOnMaster(master, { ...link, type, meaning });
}

async function check(req: Request<Conf>): Promise<void> {
  await checkContainerLink(req, {
    kind: "ipvlan",
    compare: (link) => compareBelow(req, link),
  });
}

/** Without `master` in the configuration only an ADD knows which one it is. */
async function status(req: Request<Conf>): Promise<void> {
  requireTools(["ip", "sh", "nsenter"]);
  if (req.conf.master) await requireMaster(req);
  if (req.conf.ipam.type) await req.ipam.status();
}

if (import.meta.main) await serve(plugin);
