/**
 * dummy: a link that leads nowhere. Its addresses answer inside the container,
 * whatever becomes of other links.
 *
 * Owns: the dummy link (it goes with the container's namespace) and the addresses
 * its IPAM plugin reserves. Runs: `ip`, `sh`, `nsenter`, and the IPAM plugin.
 *
 * ```json
 * {
 *   "cniVersion": "1.1.0", "name": "service", "type": "dummy",
 *   "ipam": { "type": "static", "addresses": [{ "address": "10.9.9.9/32" }] }
 * }
 * ```
 *
 * @module
 */
import type { Infer } from "../cni/decode.ts";
import type { Request } from "../cni/plugin.ts";
import type { Result } from "../cni/types.ts";
import { object, optional, refine, withDefault } from "../cni/decode.ts";
import { definePlugin } from "../cni/plugin.ts";
import { dnsDecoder, ipamDecoder } from "../cni/sections.ts";
import { serve } from "../cni/serve.ts";
import { etherMtu } from "../host/ip_link.ts";
import { containerNetns } from "../recipes/container.ts";
import {
  addContainerLink,
  checkContainerLink,
  compareUp,
  createInContainer,
  delContainerLink,
  gcContainerLink,
} from "../recipes/container_link.ts";
import { attachmentNames } from "../recipes/attachment.ts";
import { requireTools } from "../recipes/status.ts";

/** An ADD needs an IPAM plugin; a DEL without one still removes the link. */
const conf = refine(
  object({
    ipam: withDefault(ipamDecoder, { type: "" }, "IPAM plugin and its options.", "**required**"),
    dns: optional(dnsDecoder, "Name resolution for the result, in place of the IPAM plugin's."),
  }),
  ({ ipam }, report) => {
    if (ipam.type === "") report("", "dummy interface requires an IPAM configuration");
  },
);
type Conf = Infer<typeof conf>;

/** The dummy plugin. */
export const plugin = definePlugin<Conf>({
  type: "dummy",
  about: "gives a container addresses on a link that leads nowhere",
  needs: "iproute2; `dummy`",
  permissions: { run: "any", read: true, write: true },
  conf,
  add,
  check,
  del: (req) => delContainerLink(req, { kind: "dummy" }),
  gc: gcContainerLink,
  status,
});

/** One process: nobody else is on the link, so no duplicates are looked for. */
async function add(req: Request<Conf>): Promise<Result> {
  const { ifName } = req;
  const netns = containerNetns(req);
  const own = await attachmentNames(req);
  const mac = own.containerMac;
  const create = createInContainer({
    own,
    netns,
    ifName,
    type: ["dummy"],
    mac,
    meaning: { unsupported: 'the kernel has no links of type dummy: load its module "dummy"' },
  });
  return await addContainerLink(req, { create, mac, mtu: etherMtu, dad: false });
}

async function check(req: Request<Conf>): Promise<void> {
  await checkContainerLink(req, { kind: "dummy", compare: compareUp });
}

async function status(req: Request<Conf>): Promise<void> {
  requireTools(["ip", "sh", "nsenter"]);
  await req.ipam.status();
}

if (import.meta.main) await serve(plugin);
