/**
 * tap: a device whose other end is a program, such as a virtual machine or a VPN,
 * that opens it inside the container's namespace; a port of a bridge there, if
 * one is named.
 *
 * Owns: the tap device (it goes with the container's namespace) and the addresses
 * its IPAM plugin reserves. Runs: `ip`, `sh`, `nsenter`, and the IPAM plugin.
 * Needs `/dev/net/tun`.
 *
 * ```json
 * { "cniVersion": "1.1.0", "name": "vm", "type": "tap", "owner": 107, "group": 107 }
 * ```
 *
 * @module
 */
import type { Infer } from "../cni/decode.ts";
import type { Request } from "../cni/plugin.ts";
import type { Result } from "../cni/types.ts";
import type { AccountKind } from "../host/accounts.ts";
import type { NetnsRef } from "../host/command.ts";
import type { Link, TunLink } from "../host/ip_link.ts";
import type { Step } from "../host/step.ts";
import type { AttachmentNames } from "../recipes/attachment.ts";
import {
  boolean,
  integer,
  object,
  optional,
  string,
  stringThat,
  withDefault,
} from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import { isIfName } from "../cni/names.ts";
import { definePlugin } from "../cni/plugin.ts";
import { dnsDecoder, ipamDecoder } from "../cni/sections.ts";
import { serve } from "../cni/serve.ts";
import { accountId } from "../host/accounts.ts";
import { etherMtu, setLink, showLinks } from "../host/ip_link.ts";
import { addTap, tunDevice } from "../host/ip_tuntap.ts";
import { statProcs } from "../host/proc.ts";
import { underContext } from "../host/selinux.ts";
import { containerNetns } from "../recipes/container.ts";
import {
  addContainerLink,
  checkContainerLink,
  compareUp,
  createLinkBy,
  delContainerLink,
  gcContainerLink,
} from "../recipes/container_link.ts";
import { queryLinks } from "../recipes/links.ts";
import { macField, macFields, requestedMac } from "../recipes/mac.ts";
import { attachmentNames } from "../recipes/attachment.ts";
import { requireTools } from "../recipes/status.ts";

/** The kernel's own bound for such a device. */
const maxMtu = 65521;

/** One less than all bits, which mean "nobody" to the kernel. */
const accountDecoder = integer({ min: 0, max: 2 ** 32 - 2 });

const conf = object({
  multiQueue: withDefault(boolean(), false, "Let it be opened several times, a queue each."),
  mtu: withDefault(integer({ min: 0, max: maxMtu }), 0, "MTU in bytes.", `${etherMtu}`),
  mac: macField,
  owner: optional(
    accountDecoder,
    "Number of the one user who may open it without `CAP_NET_ADMIN`; anybody when absent.",
  ),
  group: optional(
    accountDecoder,
    "Number of the group whose members alone may; anybody when absent.",
  ),
  selinuxContext: withDefault(
    string(),
    "",
    "SELinux context of the program that makes the device, and so the device's.",
    "the plugin's",
  ),
  bridge: withDefault(
    stringThat("name of a link", (text) => text === "" || isIfName(text)),
    "",
    "Bridge in the container's namespace that it becomes a port of.",
    "none",
  ),
  ipam: withDefault(ipamDecoder, { type: "" }, "IPAM plugin and its options; none for layer 2."),
  dns: optional(dnsDecoder, "Name resolution for the result, in place of the IPAM plugin's."),
  ...macFields,
});
type Conf = Infer<typeof conf>;

/** The tap plugin. */
export const plugin = definePlugin<Conf>({
  type: "tap",
  about: "gives a container a device for a program such as a virtual machine",
  needs: "iproute2; `tun`",
  permissions: { run: "any", read: true, write: true },
  conf,
  add,
  check,
  del: (req) => delContainerLink(req, { kind: "tun" }),
  gc: gcContainerLink,
  status,
});

async function add(req: Request<Conf>): Promise<Result> {
  const { conf, ifName } = req;
  const netns = containerNetns(req);
  const own = await attachmentNames(req);
  const mac = requestedMac(req) ?? own.containerMac;
  if (conf.bridge) await requireBridge(req, netns);
  const create = planTap(conf, { own, netns, ifName, mac });
  return await addContainerLink(req, { create, mac, mtu: conf.mtu || etherMtu, dad: true });
}

/** The bridge must be there, in the container. Throws codes 103 and 7. */
async function requireBridge({ conf, host }: Request<Conf>, netns: NetnsRef): Promise<void> {
  const links = await queryLinks(host, showLinks({ netns }));
  const found = links.find(({ name }) => name === conf.bridge);
  if (found?.kind === "bridge") return;
  const bridges = links.filter(({ kind }) => kind === "bridge").map(({ name }) => `"${name}"`);
  const state = found ? "it is another kind of link" : "no such link in the container";
  throw new CniError(
    found ? codes.invalidNetworkConfig : codes.objectMissing,
    `Cannot use bridge "${conf.bridge}": ${state}; bridges there: ${bridges.join(", ") || "none"}`,
  );
}

/** Input of {@linkcode planTap}. */
export interface TapFacts {
  readonly own: AttachmentNames;
  readonly netns: NetnsRef;
  readonly ifName: string;
  readonly mac: string;
}

/** Makes the device inside the container, where nothing else has its name. */
export function planTap(conf: Conf, { mac, ...link }: TapFacts): Step[] {
  const { ifName, netns } = link;
  const make = addTap({ ...conf, ...headers(conf), name: ifName, netns });
  const { selinuxContext: context, mtu, bridge } = conf;
  return [
    ...createLinkBy(context ? underContext(context, make) : make, { ...link, meaning }),
    {
      why: `set ${mtu ? `MTU ${mtu} and ` : ""}address ${mac} of container interface "${ifName}"`,
      do: setLink(ifName, { mtu, address: mac, netns }),
    },
    ...(bridge
      ? [{
        why: `add container interface "${ifName}" to bridge "${bridge}"`,
        do: setLink(ifName, { master: bridge, netns }),
      }]
      : []),
  ];
}

const remedy =
  'load the kernel\'s module "tun", or let the container that this plugin runs in have the device';

const meaning: NonNullable<Step["meaning"]> = {
  unsupported: `"${tunDevice}" cannot be used: ${remedy}`,
};

/**
 * How frames begin until a program opens the device and chooses by itself. The
 * reference makes a device that has both owner and group in another way, which
 * leaves it with these headers.
 */
function headers({ owner, group, selinuxContext, multiQueue }: Conf) {
  const vnetHdr = owner !== undefined && group !== undefined && !selinuxContext;
  return { vnetHdr, pi: vnetHdr && !multiQueue };
}

async function check(req: Request<Conf>): Promise<void> {
  await checkContainerLink(req, {
    kind: "tun",
    compare: (link) => [...compareUp(link), ...compareTap(link, req.conf)],
  });
}

/** Checks what the device was made with, and where it is. */
export function compareTap({ name, tun, mtu, master }: Link, conf: Conf): string[] {
  if (!tun) return [];
  const all: readonly [what: string, found: unknown, wanted: unknown][] = [
    ["type", tun.type, "tap"],
    ["multiQueue", tun.multiQueue, conf.multiQueue],
    ["owner", accountOf("user", { found: tun.owner, wanted: conf.owner }), conf.owner],
    ["group", accountOf("group", { found: tun.group, wanted: conf.group }), conf.group],
    ["MTU", mtu, conf.mtu || mtu],
    ["bridge", master, conf.bridge || master],
  ];
  return all.filter(([, found, wanted]) => found !== wanted).map(([what, found, wanted]) =>
    `container interface "${name}" has ${what} ${found ?? "none"}, expected ${wanted ?? "none"}`
  );
}

/** Number of an account that is shown by its name. One that no file of this host names is taken for the wanted one. */
function accountOf(
  kind: AccountKind,
  { found, wanted }: { found: TunLink["owner"]; wanted: number | undefined },
): number | string | undefined {
  if (typeof found !== "string" || wanted === undefined) return found;
  return accountId(kind, found) ?? wanted;
}

async function status(req: Request<Conf>): Promise<void> {
  requireTools(["ip", "sh", "nsenter"]);
  const [device] = statProcs([tunDevice]);
  if (device === undefined) {
    throw new CniError(codes.notAvailable, `Cannot serve ADD: no "${tunDevice}": ${remedy}`);
  }
  if (req.conf.ipam.type) await req.ipam.status();
}

if (import.meta.main) await serve(plugin);
