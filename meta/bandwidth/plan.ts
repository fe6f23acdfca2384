/**
 * Plans and compares what shapes an attachment: token buckets on its link, or on ifb
 * devices that the packets of the link are sent through.
 *
 * @module
 */
import type { NetnsRef } from "../../host/command.ts";
import type { Link } from "../../host/ip_link.ts";
import { addLink, deleteLink, setLink } from "../../host/ip_link.ts";
import type { Step } from "../../host/step.ts";
import type { Hook, KernelFilter, Qdisc, Tbf, U32Filter } from "../../host/tc.ts";
import {
  addFilter,
  addFqCodel,
  addHook,
  addTbf,
  burstTicks,
  deleteHook,
  deleteRoot,
  keysOf,
} from "../../host/tc.ts";
import type { BucketLink } from "./bucket.ts";
import { tbfOf } from "./bucket.ts";
import type { Bucket, Limits, Subnets } from "./conf.ts";
import type { IfbNames } from "./names.ts";
import { ifbKind } from "./names.ts";

/** The link that an attachment is shaped on. */
export interface ShapedLink {
  /** The host's end of a pair, or the container's interface. */
  readonly link: Link;
  /** The container's namespace, when it is the container's interface. */
  readonly netns?: NetnsRef | undefined;
}

/** One direction of an attachment. */
export interface ShapedDirection {
  /** To the container, or from it. */
  readonly way: "to" | "from";
  readonly tbf: Tbf;
  /** The ifb device that its packets are sent through; absent: the bucket is on the link itself. */
  readonly ifb?: string | undefined;
  /** What sends them there. */
  readonly filters: readonly U32Filter[];
}

/** Everything that shapes an attachment. */
export interface Shaping extends ShapedLink, Pick<Limits, "queue"> {
  readonly directions: readonly ShapedDirection[];
  readonly names: Pick<IfbNames, "mac" | "alias">;
}

/** Plans how the packets of a link are limited. */
export function shapingOf(
  limits: Limits,
  { target, names, from }: { target: ShapedLink; names: IfbNames; from: string },
): Shaping {
  const direction = (way: ShapedDirection["way"], ifb: string) =>
    limits[way] ? [directionOf(limits[way], { way, ifb, limits, target })] : [];
  const directions = [...direction("to", names.to), ...direction("from", from)];
  return { ...target, directions, names, queue: limits.queue };
}

/** A bucket at the root limits all that leaves a link. What comes in, or a part, goes through an ifb device. */
function directionOf(
  bucket: Bucket,
  { way, ifb, limits: { subnets, latency }, target: { link: { mtu }, netns } }: {
    readonly way: ShapedDirection["way"];
    readonly ifb: string;
    readonly limits: Limits;
    readonly target: ShapedLink;
  },
): ShapedDirection {
  const tbf = tbfOf(bucket, { mtu, latency } satisfies BucketLink);
  const hook: Hook = (way === "to") === (netns === undefined) ? "egress" : "ingress";
  if (hook === "egress" && !subnets) return { way, tbf, filters: [] };
  const field = way === "to" ? "src" : "dst";
  return { way, tbf, ifb, filters: filtersOf({ hook, redirect: ifb }, { field, subnets }) };
}

/**
 * Filters of one priority have one protocol. A kernel lists those of both hooks under
 * each, where they have a priority in common.
 */
const priorities = {
  ingress: { ipv6: 15, ip: 16, rest: 17 },
  egress: { ipv6: 25, ip: 26, rest: 27 },
} as const;

function filtersOf(
  shape: Pick<U32Filter, "hook" | "redirect">,
  { field, subnets }: { field: "src" | "dst"; subnets: Subnets | undefined },
): U32Filter[] {
  if (!subnets) return [{ ...shape, protocol: "all", priority: 1 }];
  const { hook } = shape;
  const priority = priorities[hook];
  const named = subnets.list.map((subnet): U32Filter => {
    const protocol = subnet.family === 4 ? "ip" : "ipv6";
    const match = { field, subnet } as const;
    return {
      ...(subnets.shaped ? shape : { hook }),
      protocol,
      priority: priority[protocol],
      match,
    };
  });
  if (subnets.shaped) return named;
  return [...named, { ...shape, protocol: "all", priority: priority.rest }];
}

/** Makes all of it, where nothing of it is there yet. */
export function planShaping(shaping: Shaping): Step[] {
  const { directions } = shaping;
  return [
    ...directions.flatMap((direction) => direction.ifb ? planIfb(direction.ifb, shaping) : []),
    ...directions.flatMap((direction) =>
      direction.ifb ? planBucket(direction.ifb, { direction, shaping }) : []
    ),
    ...planHook(shaping),
    ...directions.flatMap((direction) =>
      direction.ifb ? [] : planBucket(shaping.link.name, { direction, shaping })
    ),
  ];
}

/** The device has no queue of its own, as with the reference: packets wait in the queue of the bucket. */
function planIfb(name: string, { link: { mtu }, netns, names }: Shaping): Step[] {
  return [
    {
      why: `create ifb device "${name}"`,
      do: addLink({ name, type: [ifbKind], mtu, address: names.mac, txQLen: 0, netns }),
      undo: deleteLink(name, { netns }),
      meaning: { unsupported: "the kernel lacks the module ifb" },
    },
    {
      why: `mark "${name}" as ours and set it up`,
      do: setLink(name, { alias: names.alias, up: true, netns }),
    },
  ];
}

function planBucket(
  dev: string,
  { direction: { tbf, ifb, way }, shaping: { netns, queue } }: {
    direction: ShapedDirection;
    shaping: Shaping;
  },
): Step[] {
  return [
    {
      why: `limit what ${way === "to" ? "goes to" : "comes from"} the container on "${dev}"`,
      do: addTbf(dev, tbf, { netns }),
      // The bucket of an ifb device goes with the device.
      ...(!ifb && { undo: deleteRoot(dev, { netns }) }),
      meaning: {
        unsupported: "the kernel lacks the module sch_tbf",
        exists: "it has a queueing discipline of somebody else",
      },
    },
    ...(queue === "fq_codel"
      ? [{
        why: `give each flow a queue on "${dev}"`,
        do: addFqCodel(dev, { netns }),
        meaning: { unsupported: "the kernel lacks the module sch_fq_codel" },
      }]
      : []),
  ];
}

function planHook({ link: { name }, netns, directions }: Shaping): Step[] {
  const filters = directions.flatMap((direction) => direction.filters);
  if (filters.length === 0) return [];
  const kind = filters.some(({ hook }) => hook === "egress") ? "clsact" : "ingress";
  return [
    {
      why: `look at packets of "${name}"`,
      do: addHook(name, kind, { netns }),
      undo: deleteHook(name, { netns }),
      meaning: {
        unsupported: "the kernel lacks the module sch_ingress",
        exists: "somebody else looks at them",
      },
    },
    ...filters.map((filter) => ({
      why: filter.redirect
        ? `send packets of "${name}" through "${filter.redirect}"`
        : `let packets of "${name}" pass`,
      do: addFilter(name, filter, { netns }),
      meaning: { unsupported: "the kernel lacks the modules cls_u32 and act_mirred" },
    })),
  ];
}

/** What shapes an attachment in one namespace, to be removed. */
export interface ShapingLeftovers extends Partial<ShapedLink> {
  /** Its ifb devices. */
  readonly ifbs: readonly Link[];
}

/** Removes all of it. The filters go before the devices that they send packets through. */
export function planRemoval({ link, netns, ifbs }: ShapingLeftovers): Step[] {
  const gone = { tolerate: ["missing"] } as const;
  return [
    ...(link && ifbs.length > 0
      ? [{
        why: `let packets of "${link.name}" pass`,
        do: deleteHook(link.name, { netns }),
        ...gone,
      }]
      : []),
    ...(link?.qdisc === "tbf"
      ? [{ why: `lift the limit of "${link.name}"`, do: deleteRoot(link.name, { netns }), ...gone }]
      : []),
    ...ifbs.map(({ name }) => ({
      why: `remove ifb device "${name}"`,
      do: deleteLink(name, { netns }),
      ...gone,
    })),
  ];
}

/** What the kernel has on a link and its ifb devices. */
export interface KernelShaping {
  readonly ifbs: readonly Link[];
  readonly qdiscs: readonly Qdisc[];
  readonly filters: Readonly<Record<Hook, readonly KernelFilter[]>>;
}

/** A line for each difference. */
export function compareShaping(shaping: Shaping, kernel: KernelShaping): string[] {
  return shaping.directions.flatMap((direction) => [
    ...compareIfb(direction, kernel),
    ...compareBucket(direction, { shaping, kernel }),
    ...compareFilters(direction, { shaping, kernel }),
  ]);
}

function compareIfb({ ifb }: ShapedDirection, { ifbs }: KernelShaping): string[] {
  if (!ifb) return [];
  const found = ifbs.find(({ name }) => name === ifb);
  if (!found) return [`ifb device "${ifb}" is missing`];
  return found.up ? [] : [`ifb device "${ifb}" is down`];
}

function compareBucket(
  { ifb, tbf }: ShapedDirection,
  { shaping, kernel }: { shaping: Shaping; kernel: KernelShaping },
): string[] {
  const dev = ifb ?? shaping.link.name;
  const own = kernel.qdiscs.filter((qdisc) => qdisc.dev === dev);
  const found = own.find(({ root }) => root)?.tbf;
  if (!found) return [`"${dev}" has no token bucket`];
  const [least, most] = burstTicks(tbf);
  const lines = [
    ...(found.rate === tbf.rate
      ? []
      : [`Rate doesn't match: ${found.rate} and not ${tbf.rate} bytes/s`]),
    ...(found.limit === tbf.limit
      ? []
      : [`Limit doesn't match: ${found.limit} and not ${tbf.limit} bytes`]),
    ...(found.ticks >= least && found.ticks <= most
      ? []
      : [`Buffer doesn't match: ${found.ticks} and not ${least}–${most} ticks`]),
    ...(shaping.queue === "fifo" ||
        own.some(({ kind, parent }) => kind === "fq_codel" && parent === "1:1")
      ? []
      : ["Queue doesn't match: no fq_codel"]),
  ];
  return lines.map((line) => `token bucket of "${dev}": ${line}`);
}

/** A line for each planned filter that is missing. Filters of others are ignored. */
function compareFilters(
  { filters }: ShapedDirection,
  { shaping: { link }, kernel }: { shaping: Shaping; kernel: KernelShaping },
): string[] {
  return filters.filter((filter) => !kernel.filters[filter.hook].some((one) => isSame(one, filter)))
    .map(({ hook, redirect }) =>
      redirect
        ? `a filter on ${hook} of "${link.name}" that redirects to "${redirect}" is missing`
        : `a filter on ${hook} of "${link.name}" that lets packets pass is missing`
    );
}

function isSame(found: KernelFilter, { protocol, priority, match, redirect }: U32Filter): boolean {
  return found.protocol === protocol && found.priority === priority &&
    found.redirect === redirect && found.keys.join() === keysOf(match).join();
}
