/**
 * example: a bridge of the container's own, without ports. Say here what yours does.
 *
 * Owns: the link (it goes with the container's namespace) and the addresses its
 * IPAM plugin reserves. Runs: `ip`, `sh`, `nsenter`, and the IPAM plugin.
 *
 * ```json
 * {
 *   "cniVersion": "1.1.0", "name": "mynet", "type": "example",
 *   "ipam": { "type": "host-local", "subnet": "10.1.2.0/24" }
 * }
 * ```
 *
 * @module
 */
import type { Infer } from "../../../cni/decode.ts";
import type { Request } from "../../../cni/plugin.ts";
import type { Result } from "../../../cni/types.ts";
import type { Step } from "../../../host/step.ts";
import type { ContainerLink } from "../../../recipes/container_link.ts";
import { integer, object, optional, withDefault } from "../../../cni/decode.ts";
import { definePlugin } from "../../../cni/plugin.ts";
import { dnsDecoder, ipamDecoder } from "../../../cni/sections.ts";
import { serve } from "../../../cni/serve.ts";
import { etherMtu } from "../../../host/ip_link.ts";
import { containerNetns } from "../../../recipes/container.ts";
import {
  addContainerLink,
  checkContainerLink,
  compareUp,
  createInContainer,
  delContainerLink,
  gcContainerLink,
} from "../../../recipes/container_link.ts";
import { macFields, requestedMac } from "../../../recipes/mac.ts";
import { attachmentNames } from "../../../recipes/attachment.ts";
import { requireTools } from "../../../recipes/status.ts";

/** What `ip link add … type` takes; `ip -d link` shows it again. */
const kind = "bridge";

/** Each key has its type, its default and its line in the table of docs/plugins/example.md. */
const conf = object({
  mtu: withDefault(integer({ min: 0, max: 65535 }), 0, "MTU in bytes.", `${etherMtu}`),
  ipam: withDefault(ipamDecoder, { type: "" }, "IPAM plugin and its options; none for layer 2."),
  dns: optional(dnsDecoder, "Name resolution for the result, in place of the IPAM plugin's."),
  ...macFields,
});
type Conf = Infer<typeof conf>;

/** The example plugin. */
export const plugin = definePlugin<Conf>({
  type: "example",
  about: "gives a container a bridge of its own",
  needs: "iproute2; `bridge`",
  permissions: { run: "any", read: true, write: true },
  conf,
  add,
  check,
  del: (req) => delContainerLink(req, { kind }),
  gc: gcContainerLink,
  status,
});

/** Gather facts, plan, apply, give a result: `attach` does the last two, and asks IPAM. */
async function add(req: Request<Conf>): Promise<Result> {
  const { conf, ifName } = req;
  const netns = containerNetns(req);
  const own = await attachmentNames(req);
  const mac = requestedMac(req) ?? own.containerMac;
  const create = planLink(conf, { own, netns, ifName, mac });
  return await addContainerLink(req, { create, mac, mtu: conf.mtu || etherMtu, dad: false });
}

/** A plan is a pure function: its test compares shell lines. Every step that makes something has its undo. */
export function planLink({ mtu }: Conf, link: Omit<ContainerLink, "type">): Step[] {
  return createInContainer({ ...link, mtu, type: [kind] });
}

async function check(req: Request<Conf>): Promise<void> {
  await checkContainerLink(req, {
    kind,
    compare: (link) => [
      ...compareUp(link),
      ...(req.conf.mtu === 0 || link.mtu === req.conf.mtu
        ? []
        : [`container interface "${link.name}" has MTU ${link.mtu}, expected ${req.conf.mtu}`]),
    ],
  });
}

async function status(req: Request<Conf>): Promise<void> {
  requireTools(["ip", "sh", "nsenter"]);
  if (req.conf.ipam.type) await req.ipam.status();
}

if (import.meta.main) await serve(plugin);
