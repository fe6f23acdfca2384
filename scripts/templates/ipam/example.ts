/**
 * example: gives each attachment the configured address. Say here what yours does.
 *
 * Owns: nothing; one that keeps reservations removes them in `del` and `gc`.
 * Runs: nothing.
 *
 * ```json
 * {
 *   "cniVersion": "1.1.0", "name": "mynet", "type": "bridge",
 *   "ipam": { "type": "example", "address": "10.1.2.7/24", "gateway": "10.1.2.1" }
 * }
 * ```
 *
 * @module
 */
import type { Infer } from "../../../cni/decode.ts";
import type { Request } from "../../../cni/plugin.ts";
import type { Result } from "../../../cni/types.ts";
import { cidr, expected, ip, object, optional, refine, withDefault } from "../../../cni/decode.ts";
import { definePlugin } from "../../../cni/plugin.ts";
import { serve } from "../../../cni/serve.ts";
import { emptyResult } from "../../../cni/types.ts";
import { requirePrevResult, throwDifferences } from "../../../recipes/check.ts";

const ipam = object({
  address: optional(cidr(), "Address to give, with its prefix length; required."),
  gateway: optional(ip(), "Gateway to report with it."),
});

/** An ADD needs an address; a DEL must do without, so it is no required key. */
const conf = refine(
  object({
    ipam: withDefault(
      ipam,
      { address: undefined, gateway: undefined },
      "The section of this plugin.",
      "empty",
    ),
  }),
  ({ ipam: { address } }, report) => {
    if (address === undefined) report("ipam.address", expected(cidr().expects, address));
  },
);
type Conf = Infer<typeof conf>;

/** The example plugin. */
export const plugin = definePlugin<Conf>({
  type: "example",
  about: "gives the configured address",
  needs: "nothing",
  permissions: { run: [], read: [], write: [] },
  conf,
  ipam: { needsInterface: false, releaseFirst: false, needsBroadcast: false },
  add,
  check,
  del: () => Promise.resolve(),
  gc: () => Promise.resolve(),
  status: () => Promise.resolve(),
});

/** Addresses, routes and dns; interfaces are the caller's. */
function add({ conf: { ipam: { address, gateway } } }: Request<Conf>): Promise<Result> {
  const given = { address: address!, ...(gateway !== undefined && { gateway }) };
  return Promise.resolve({ ...emptyResult(), ips: [given] });
}

/** Whether the record of the ADD still is what this plugin gives. */
function check(req: Request<Conf>): Promise<void> {
  const { address } = req.conf.ipam;
  const has = requirePrevResult(req).ips.some((ip) => ip.address === address);
  throwDifferences(req.network, has ? [] : [`the result of ADD has no address ${address}`]);
  return Promise.resolve();
}

if (import.meta.main) await serve(plugin);
