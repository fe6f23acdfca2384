/**
 * IPv6 of a container's interface as far as the kernel makes it: listening to routers, and waiting
 * for the address that it makes of what they advertise.
 *
 * @module
 */
import type { Result } from "../../cni/types.ts";
import type { NetnsRef } from "../../host/command.ts";
import type { Step } from "../../host/step.ts";
import type { Host } from "../../ns/machine.ts";
import { CniError, codes } from "../../cni/error.ts";
import { command } from "../../host/command.ts";
import { parseLinks } from "../../host/ip_link.ts";
import { Listening } from "../../host/listen.ts";
import { sysctl } from "../../host/step.ts";
import { argv } from "../../ns/enter.ts";
import { bringUp } from "../../recipes/configure.ts";
import { readSlaac } from "./slaac_state.ts";

/** An interface of a container. */
export interface Inside {
  readonly netns: NetnsRef;
  readonly ifName: string;
}

/** What decides whether the kernel heeds routers. */
export interface Heed {
  /** Kernel variables of the interface; absent where the kernel has no IPv6. */
  readonly variables: ReadonlyMap<string, number>;
  readonly up: boolean;
  /** Whether it has an address of IPv6 that would be lost if IPv6 were switched off. */
  readonly settled: boolean;
}

const names = ["disable_ipv6", "forwarding", "accept_ra", "autoconf"] as const;

/** Prints the variables, one a line, then the link. */
const lookScript = [
  'cd "/proc/sys/net/ipv6/conf/$1" 2>/dev/null &&',
  `for name in ${names.join(" ")}; do echo "$name $(cat "$name")"; done`,
  'exec ip -d -j addr show dev "$1"',
].join("\n");

/** Lets the kernel listen to routers on an interface. A rollback puts back what was changed. */
export async function heedRouters(
  host: Host,
  { autoconf, ...inside }: Inside & {
    /** Make addresses of what they advertise, too; else that is left as it is. */
    readonly autoconf: boolean;
  },
): Promise<void> {
  const { netns, ifName } = inside;
  const text = await host.query(command("sh", ["-c", lookScript, "sh", ifName], { netns }), {
    why: `look at IPv6 of container interface "${ifName}"`,
    tolerate: ["missing"],
  });
  if (text !== undefined) await host.apply(planHeed(inside, { heed: parseHeed(text), autoconf }));
}

/** Reads what the script has printed. */
export function parseHeed(text: string): Heed {
  const lines = [...text.matchAll(/^([a-z0-9_]+) (-?\d+)$/gm)];
  const [link] = parseLinks(text.replace(/^[a-z].*\n/gm, ""));
  return {
    variables: new Map(lines.map(([, name, value]) => [name!, Number(value)])),
    up: link?.up ?? false,
    settled: (link?.addresses ?? []).some(({ address, scope }) =>
      scope === "global" && address.includes(":")
    ),
  };
}

/**
 * What makes an interface heed routers. One that is up has asked for them already, or has not
 * because it should not: it begins anew, unless that would take an address from it.
 */
export function planHeed(
  inside: Inside,
  { heed: { variables, up, settled }, autoconf }: {
    readonly heed: Heed;
    readonly autoconf: boolean;
  },
): Step[] {
  const wanted = new Map([
    // Whoever forwards heeds routers by 2 alone.
    ["accept_ra", variables.get("forwarding") ? 2 : Math.max(variables.get("accept_ra") ?? 1, 1)],
    ...(autoconf ? [["autoconf", 1] as const] : []),
    ["disable_ipv6", 0],
  ]);
  const changes = [...wanted].filter(([name, value]) =>
    variables.has(name) && variables.get(name) !== value
  );
  const asleep = variables.get("disable_ipv6") === 1;
  const again = changes.length > 0 && up && !settled && !asleep;
  return [
    ...changes.map(([name, value]) => write(inside, { name, value, before: variables.get(name)! })),
    ...(again ? [1, 0].map((value) => write(inside, { name: "disable_ipv6", value })) : []),
    ...(up ? [] : bringUp(inside)),
  ];
}

function write(
  { netns, ifName }: Inside,
  { name, value, before }: {
    readonly name: string;
    readonly value: number;
    readonly before?: number;
  },
): Step {
  const key = `net/ipv6/conf/${ifName}/${name}`;
  return {
    why: `set ${key} to ${value} in the container`,
    do: sysctl(key, value, { netns }),
    ...(before !== undefined && { undo: sysctl(key, before, { netns, optional: true }) }),
  };
}

/** Says something whenever addresses or routes change, as long as its stdin is open. */
const watchScript = 'ip -6 monitor address route 2>/dev/null & read -r _; kill "$!"';

/** Prints what `readSlaac` reads. */
const showScript = 'ip -j -6 addr show dev "$1" 2>/dev/null; echo --; ip -j -6 route show';

/** Milliseconds after which is looked again, whatever was said: the first word may be missed. */
const lookInterval = 1000;

/**
 * Waits until the kernel has made an address and found nobody else who has it. The kernel keeps
 * it, by what routers advertise, and has the routes. Throws a `CniError` that says what is missing
 * when the time is over, and when another host has the address.
 */
export async function awaitAddress(
  host: Host,
  { netns, ifName, within, signal }: Inside & {
    /** Milliseconds. */
    readonly within: number;
    /** Ends the wait. */
    readonly signal: AbortSignal;
  },
): Promise<Result> {
  const end = performance.now() + within;
  const watch = argv(command("sh", ["-c", watchScript], { netns }));
  await using changes = new Listening(...watch);
  for (;;) {
    const state = await lookAt(host, { netns, ifName });
    if (state.kind === "ready") return { interfaces: [], ips: [...state.ips], routes: [], dns: {} };
    const left = end - performance.now();
    if (state.kind === "duplicate") throw new CniError(codes.refused, state.message);
    if (left <= 0 || signal.aborted) throw new CniError(codes.tryAgainLater, state.message);
    await changes.heard(Math.min(left, lookInterval), signal);
  }
}

async function lookAt(host: Host, { netns, ifName }: Inside) {
  const text = await host.query(command("sh", ["-c", showScript, "sh", ifName], { netns }), {
    why: `look at IPv6 of container interface "${ifName}"`,
  });
  const [addresses = "", routes = ""] = (text ?? "").split("--\n");
  return readSlaac(ifName, { addresses, routes });
}
