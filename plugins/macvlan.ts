/**
 * macvlan: a link of the container's own, with its own hardware address, on the
 * network of a master. Host and container do not reach each other through it.
 *
 * Owns: the macvlan link (it goes with the container's namespace) and the
 * addresses its IPAM plugin reserves. The master is left as it is; it must be up.
 * Runs: `ip`, `sh`, `nsenter`, and the IPAM plugin.
 *
 * ```json
 * {
 *   "cniVersion": "1.1.0", "name": "lan", "type": "macvlan", "master": "eth0",
 *   "ipam": { "type": "dhcp" }
 * }
 * ```
 *
 * @module
 */
import type { Infer } from "../cni/decode.ts";
import type { Request } from "../cni/plugin.ts";
import type { Result } from "../cni/types.ts";
import type { Link } from "../host/ip_link.ts";
import type { Step } from "../host/step.ts";
import type { ContainerLink } from "../recipes/container_link.ts";
import type { Master } from "../recipes/master.ts";
import { integer, map, object, oneOf, optional, withDefault } from "../cni/decode.ts";
import { definePlugin } from "../cni/plugin.ts";
import { dnsDecoder, ipamDecoder } from "../cni/sections.ts";
import { serve } from "../cni/serve.ts";
import { setLink } from "../host/ip_link.ts";
import { containerNetns } from "../recipes/container.ts";
import {
  addContainerLink,
  checkContainerLink,
  createOnMaster,
  delContainerLink,
  gcContainerLink,
} from "../recipes/container_link.ts";
import { macField, macFields, requestedMac } from "../recipes/mac.ts";
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
  mode: withDefault(
    map(oneOf(["bridge", "private", "vepa", "passthru", ""]), (mode) => mode || "bridge"),
    "bridge",
    "Who reaches whom: `bridge` links of one master reach each other, `private` none, `vepa` through the switch; `passthru` takes the master whole.",
  ),
  mac: macField,
  bcqueuelen: withDefault(
    integer({ min: 0, max: 2 ** 32 - 1 }),
    0,
    "Length of the queue for broadcasts, in packets.",
    "the kernel's",
  ),
  ipam: withDefault(ipamDecoder, { type: "" }, "IPAM plugin and its options; none for layer 2."),
  dns: optional(dnsDecoder, "Name resolution for the result, in place of the IPAM plugin's."),
  ...macFields,
});
type Conf = Infer<typeof conf>;

/** The macvlan plugin. */
export const plugin = definePlugin<Conf>({
  type: "macvlan",
  about: "gives a container a hardware address of its own on the network of a master",
  needs: "iproute2; `macvlan`",
  permissions: { run: "any", read: true, write: true },
  conf,
  add,
  check,
  del: (req) => delContainerLink(req, { kind: "macvlan" }),
  gc: gcContainerLink,
  status,
});

async function add(req: Request<Conf>): Promise<Result> {
  const { conf, ifName } = req;
  const netns = containerNetns(req);
  const own = await attachmentNames(req);
  const master = await findMaster(req);
  const mtu = mtuBelow(master, conf);
  const asked = requestedMac(req);
  const plan = { own, netns, ifName, mtu: conf.mtu, mac: asked };
  const mac = asked ?? (conf.mode === "passthru" ? master.link.mac : own.containerMac);
  const create = planLink(conf, { ...plan, master });
  const refusals = { exists: `another link on "${master.link.name}" has ${mac}` };
  return await addContainerLink(req, { create, mac, mtu, dad: true, refusals });
}

type LinkFacts = Omit<ContainerLink, "type"> & { readonly master: Master };

/**
 * One process on the host; naming the link joins what configures it. In mode
 * passthru the kernel gives the link the master's address and takes another only
 * when the link is there.
 */
export function planLink({ mode, bcqueuelen }: Conf, { master, ...link }: LinkFacts): Step[] {
  const type = ["macvlan", "mode", mode, ...bcqueuelen > 0 ? ["bcqueuelen", `${bcqueuelen}`] : []];
  if (mode !== "passthru") {
    const mac = link.mac ?? link.own.containerMac;
    return createOnMaster(master, { ...link, mac, type, meaning: refusals(master.link, mode) });
  }
  const { ifName, netns } = link;
  return [
    ...createOnMaster(master, {
      ...link,
      mac: undefined,
      type,
      meaning: refusals(master.link, mode),
    }),
    ...(link.mac === undefined ? [] : [{
      why: `set hardware address of container interface "${ifName}"`,
      do: setLink(ifName, { address: link.mac, netns }),
    }]),
  ];
}

function refusals(master: Link, mode: Conf["mode"]): NonNullable<Step["meaning"]> {
  return {
    busy: takenMaster(master, "ipvlan"),
    invalid: `"${master.name}" must be an Ethernet link ${
      mode === "passthru" ? "without other macvlan links" : "without one in mode passthru"
    }`,
  };
}

async function check(req: Request<Conf>): Promise<void> {
  await checkContainerLink(req, {
    kind: "macvlan",
    compare: (link) => compareBelow(req, link),
  });
}

async function status(req: Request<Conf>): Promise<void> {
  requireTools(["ip", "sh", "nsenter"]);
  await requireMaster(req);
  if (req.conf.ipam.type) await req.ipam.status();
}

if (import.meta.main) await serve(plugin);
