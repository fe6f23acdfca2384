/**
 * Plans the changes of an interface and of kernel variables: only of values that differ,
 * each with its undo.
 *
 * @module
 */
import type { Link, LinkChange } from "../../host/ip_link.ts";
import { setLink } from "../../host/ip_link.ts";
import type { Step } from "../../host/step.ts";
import { sysctl } from "../../host/step.ts";
import type { NetnsInterface } from "../../recipes/container.ts";
import type { Attributes } from "./conf.ts";
import type { RecordedVariable } from "./record.ts";
import type { Variable, VariableChange } from "./variables.ts";
import { sameValue } from "./variables.ts";

/** An attribute, its name in messages, and the change of a link that sets it. */
interface Attribute {
  readonly key: keyof Attributes;
  readonly name: string;
  readonly change: (from: Attributes) => LinkChange;
}

/** In the order in which the reference sets them. */
const attributes: readonly Attribute[] = [
  {
    key: "mac",
    name: "hardware address",
    change: ({ mac }) => mac === undefined ? {} : { address: mac },
  },
  { key: "promisc", name: "promiscuous mode", change: ({ promisc }) => ({ promisc }) },
  { key: "mtu", name: "MTU", change: ({ mtu }) => ({ mtu }) },
  { key: "allmulti", name: "all-multicast mode", change: ({ allmulti }) => ({ allmulti }) },
  { key: "txQLen", name: "length of transmit queue", change: ({ txQLen }) => ({ txQLen }) },
];

/** Current values of the attributes that differ. */
export function differingAttributes(link: Link, wanted: Attributes): Attributes {
  const keys = attributes.map(({ key }) => key)
    .filter((key) => wanted[key] !== undefined && wanted[key] !== link[key]);
  return Object.fromEntries(keys.map((key) => [key, link[key]]));
}

/** One step for each attribute: the kernel does not take back half of a request that it refuses. */
export function setAttributes(
  { netns, ifName }: NetnsInterface,
  { to, from }: { readonly to: Attributes; readonly from: Attributes },
): Step[] {
  return attributes.filter(({ key }) => from[key] !== undefined).map(({ key, name, change }) => ({
    why: `set ${name} of container interface "${ifName}" to ${to[key]}`,
    do: setLink(ifName, { ...change(to), netns }),
    undo: setLink(ifName, { ...change(from), netns }),
    ...(key === "mac" && { meaning }),
  }));
}

const meaning: NonNullable<Step["meaning"]> = {
  busy: "its driver takes another address only while the interface is down",
};

/** The variables that do not hold their value. */
export function changedVariables(
  variables: readonly Variable[],
  now: ReadonlyMap<string, string>,
): VariableChange[] {
  return variables
    .map((variable) => ({ ...variable, was: now.get(variable.key) }))
    .filter(({ was, value }) => !sameValue(was, value));
}

/** One step for each variable. One that cannot be read is written, and has no undo. */
export function setVariables(
  { netns }: Pick<NetnsInterface, "netns">,
  changes: readonly VariableChange[],
): Step[] {
  return changes.map(({ name, key, value, was }) => ({
    why: `set ${name} to "${value}" in the container`,
    do: sysctl(key, value, { netns }),
    ...(was !== undefined && { undo: sysctl(key, was, { netns }) }),
    meaning: { missing: "a network namespace has no variable of this name to itself" },
  }));
}

/** Changes that restore variables that still hold what ADD has set; the last one first. */
export function restoringChanges(
  variables: readonly RecordedVariable[],
  now: ReadonlyMap<string, string>,
): VariableChange[] {
  return variables
    .filter(({ key, set }) => sameValue(now.get(key), set))
    .map(({ key, was, set }) => ({ name: key, key, value: was, was: set }))
    .toReversed();
}

/** Steps of a removal: they tolerate what is gone by now, and have no undo. */
export function asRemoval(steps: readonly Step[]): Step[] {
  return steps.map(({ undo: _, ...step }) => ({ ...step, tolerate: ["missing"] }));
}

/** A line for each attribute that differs. */
export function compareAttributes(link: Link, wanted: Attributes): string[] {
  // A bridge or a program may have made it promiscuous as well: only the counter shows.
  const { promisc: _, ...others } = wanted;
  const compared = link.promiscuity > 0 ? others : wanted;
  const differ = differingAttributes(link, compared);
  return attributes.filter(({ key }) => differ[key] !== undefined).map(({ key, name }) =>
    `container interface "${link.name}" has ${name} ${differ[key]}, expected ${wanted[key]}`
  );
}

/** A line for each variable that differs. */
export function compareVariables(
  variables: readonly Variable[],
  now: ReadonlyMap<string, string>,
): string[] {
  return changedVariables(variables, now).map(({ key, value, was }) =>
    was === undefined
      ? `/proc/sys/${key} cannot be read, expected "${value}"`
      : `/proc/sys/${key} is "${was}", expected "${value}"`
  );
}
