/**
 * loopback: sets the container's `lo` up and reports its addresses. The kernel
 * adds 127.0.0.1/8 and ::1/128 by itself when `lo` comes up.
 *
 * Owns: nothing; DEL sets `lo` down. Runs: `ip` (inside, by `nsenter`).
 *
 * ```json
 * { "cniVersion": "1.1.0", "name": "lo", "type": "loopback" }
 * ```
 *
 * @module
 */
import type { Infer } from "../cni/decode.ts";
import type { Request } from "../cni/plugin.ts";
import type { Result } from "../cni/types.ts";
import type { Link } from "../host/ip_link.ts";
import type { Step } from "../host/step.ts";
import type { NetnsRef } from "../host/command.ts";
import { object } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import { definePlugin } from "../cni/plugin.ts";
import { serve } from "../cni/serve.ts";
import { contains, formatCidr, parseCidr, parseIp } from "../host/ip.ts";
import { parseLinks, setLink, showLink } from "../host/ip_link.ts";
import { throwDifferences } from "../recipes/check.ts";
import { containerNetns, liveNetns } from "../recipes/container.ts";
import { requireTools } from "../recipes/status.ts";
import { queryLinks } from "../recipes/links.ts";

/** `CNI_IFNAME` is checked by the protocol and otherwise ignored. */
const ifName = "lo";

const conf = object({});
type Conf = Infer<typeof conf>;

/** The loopback plugin. */
export const plugin = definePlugin<Conf>({
  type: "loopback",
  about: "sets the loopback interface up",
  needs: "iproute2",
  permissions: { run: ["ip", "nsenter"], read: true, write: [] },
  conf,
  add,
  check,
  del,
  gc: () => Promise.resolve(),
  status,
});

async function add(req: Request<Conf>): Promise<Result> {
  const previous = req.prevResult;
  const netns = containerNetns(req);
  const shown = await req.host.apply(planAdd(netns));
  const [link = predicted] = parseLinks(shown);
  const addresses = loopbackAddresses(link);
  return previous ?? {
    interfaces: [{ name: ifName, mac: link.mac, sandbox: req.netns }],
    ips: addresses.map((address) => ({ interface: 0, address })),
    routes: [],
    dns: {},
  };
}

/** One process: up, and a look at what that gave. */
export function planAdd(netns: NetnsRef): Step[] {
  return [
    {
      why: "set the loopback interface up",
      do: setLink(ifName, { up: true, netns }),
      undo: setLink(ifName, { up: false, netns }),
    },
    { why: "look at the loopback interface", do: showLink(ifName, { netns }) },
  ];
}

/** `lo` as it is once it is up, for a dry run. */
const predicted: Pick<Link, "mac" | "addresses"> = {
  mac: "00:00:00:00:00:00",
  addresses: [
    { address: "127.0.0.1", prefix: 8, scope: "host", tentative: false, dadFailed: false },
    { address: "::1", prefix: 128, scope: "host", tentative: false, dadFailed: false },
  ],
};

/** The first address of each family, IPv4 first. Any other than a loopback address is refused. */
function loopbackAddresses({ addresses }: Pick<Link, "addresses">): string[] {
  const own = (["127.0.0.0/8", "::1/128"] as const).map((text) => parseCidr(text)!);
  const parsed = addresses.map(({ address, prefix }) => ({
    ...parseIp(address)!,
    prefix,
  }));
  const foreign = parsed.find((ip) => !own.some((range) => contains(range, ip)));
  if (foreign) {
    throw new CniError(
      codes.refused,
      `Cannot use loopback interface: address ${formatCidr(foreign)} is not a loopback address`,
    );
  }
  return ([4, 6] as const)
    .map((family) => parsed.find((ip) => ip.family === family))
    .filter((ip) => ip !== undefined)
    .map(formatCidr);
}

function status(): Promise<void> {
  requireTools(["ip", "nsenter"]);
  return Promise.resolve();
}

async function check(req: Request<Conf>): Promise<void> {
  const netns = containerNetns(req);
  const [link] = await queryLinks(req.host, showLink(ifName, { netns }));
  throwDifferences(req.network, link?.up ? [] : ["loopback interface is down"]);
}

async function del(req: Request<Conf>): Promise<void> {
  const netns = liveNetns(req);
  if (netns) await req.host.apply(planDel(netns));
}

/** One process; a namespace that goes away meanwhile is as good. */
export function planDel(netns: NetnsRef): Step[] {
  return [{
    why: "set the loopback interface down",
    do: setLink(ifName, { up: false, netns }),
    tolerate: ["missing"],
  }];
}

if (import.meta.main) await serve(plugin);
