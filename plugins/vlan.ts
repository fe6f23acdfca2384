/**
 * vlan: an 802.1Q link of the container's own on a master: what the master sends
 * and receives with one VLAN tag.
 *
 * Owns: the vlan link (it goes with the container's namespace) and the addresses
 * its IPAM plugin reserves. The master is left as it is; it must be up. Runs: `ip`,
 * `sh`, `nsenter`, and the IPAM plugin.
 *
 * ```json
 * {
 *   "cniVersion": "1.1.0", "name": "tagged", "type": "vlan", "master": "eth0", "vlanId": 100,
 *   "ipam": { "type": "host-local", "subnet": "192.0.2.0/24" }
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
import { integer, object, optional, refine, withDefault } from "../cni/decode.ts";
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
} from "../recipes/master.ts";
import { attachmentNames } from "../recipes/attachment.ts";
import { requireTools } from "../recipes/status.ts";

/** The highest number of a VLAN. */
const highest = 4094;

/** An ADD needs a master and an IPAM plugin; a DEL without them still removes the link. */
const conf = refine(
  object({
    ...masterFields,
    master: withDefault(masterFields.master.decoder, "", "Link to stand on.", "**required**"),
    vlanId: withDefault(
      integer({
        min: 0,
        max: highest,
        message: (id) => `invalid VLAN ID ${id} (must be between 0 and ${highest})`,
      }),
      0,
      "Number of the VLAN. 0 is for frames with a priority and no VLAN.",
    ),
    ipam: withDefault(ipamDecoder, { type: "" }, "IPAM plugin and its options.", "**required**"),
    dns: optional(dnsDecoder, "Name resolution for the result, in place of the IPAM plugin's."),
  }),
  ({ master, ipam }, report) => {
    if (!master) report("master", 'the "master" field is required: name of the link to stand on');
    if (!ipam.type) {
      report("ipam.type", "expected name of an IPAM plugin but received nothing");
    }
  },
);
type Conf = Infer<typeof conf>;

/** The vlan plugin. */
export const plugin = definePlugin<Conf>({
  type: "vlan",
  about: "gives a container one VLAN of a master",
  needs: "iproute2; `8021q`",
  permissions: { run: "any", read: true, write: true },
  conf,
  add,
  check,
  del: (req) => delContainerLink(req, { kind: "vlan" }),
  gc: gcContainerLink,
  status,
});

async function add(req: Request<Conf>): Promise<Result> {
  const { conf, ifName } = req;
  const netns = containerNetns(req);
  const own = await attachmentNames(req);
  const master = await findMaster(req);
  const mtu = mtuBelow(master, conf);
  requireUp(master.link);
  const create = planLink(conf, { own, netns, ifName, mtu: conf.mtu, master });
  return await addContainerLink(req, { create, mac: master.link.mac, mtu, dad: true });
}

/** The kernel sets no VLAN up on a master that is down. */
function requireUp({ name, up }: Link): void {
  if (up) return;
  throw new CniError(codes.refused, `Cannot use master "${name}": it is down; set it up first`);
}

type LinkFacts = Omit<ContainerLink, "type" | "mac"> & { readonly master: Master };

/** One process on the host; naming the link joins what configures it. */
export function planLink({ vlanId }: Pick<Conf, "vlanId">, { master, ...link }: LinkFacts): Step[] {
  const { name } = master.link;
  const type = ["vlan", "id", `${vlanId}`];
  const meaning = {
    exists:
      `"${name}" carries one link for VLAN ${vlanId} and no second: choose another vlanId, or share the VLAN by making it on the host and using it as the master of macvlan`,
  };
  return createOnMaster(master, { ...link, type, meaning });
}

async function check(req: Request<Conf>): Promise<void> {
  const { vlanId } = req.conf;
  await checkContainerLink(req, {
    kind: "vlan",
    compare: async (link) => [
      ...(link.vlanId === vlanId
        ? []
        : [`container interface "${link.name}" is of VLAN ${link.vlanId}, expected ${vlanId}`]),
      ...await compareBelow(req, link),
    ],
  });
}

async function status(req: Request<Conf>): Promise<void> {
  requireTools(["ip", "sh", "nsenter"]);
  await requireMaster(req);
  await req.ipam.status();
}

if (import.meta.main) await serve(plugin);
