/**
 * Stateless address autoconfiguration (SLAAC, RFC 4862) of a container's interface by the kernel: lets
 * the kernel accept router advertisements, and waits for the address that it makes of them.
 *
 * @module
 */
import type { Result } from "../../cni/types.ts";
import type { Step } from "../../host/step.ts";
import type { Host } from "../../ns/machine.ts";
import type { NetnsInterface } from "./lease/interface_plan.ts";
import { CniError, codes } from "../../cni/error.ts";
import { command } from "../../host/command.ts";
import { parseLinks } from "../../host/ip_link.ts";
import { MonitorProcess } from "../../host/monitor.ts";
import { sysctl } from "../../host/step.ts";
import { argv } from "../../ns/enter.ts";
import { bringUp } from "../../recipes/configure.ts";
import { readSlaacState } from "./slaac_state.ts";

/** What decides whether the kernel accepts router advertisements. */
export interface RouterSettings {
  /** Kernel variables of the interface; empty when the kernel has no IPv6. */
  readonly variables: ReadonlyMap<string, number>;
  readonly up: boolean;
  /** Whether it has a global IPv6 address, which would be lost if IPv6 were switched off. */
  readonly settled: boolean;
}

const names = ["disable_ipv6", "forwarding", "accept_ra", "autoconf"] as const;

/** A script that prints the variables, one a line, then the link. */
const settingsScript = [
  'cd "/proc/sys/net/ipv6/conf/$1" 2>/dev/null &&',
  `for name in ${names.join(" ")}; do echo "$name $(cat "$name")"; done`,
  'exec ip -d -j addr show dev "$1"',
].join("\n");

/** Lets the kernel accept router advertisements on an interface. A rollback restores the variables. */
export async function acceptRouterAdvertisements(
  host: Host,
  { autoconf, ...inside }: NetnsInterface & {
    /** Whether to turn on autoconfiguration of addresses; else it stays as it is. */
    readonly autoconf: boolean;
  },
): Promise<void> {
  const { netns, ifName } = inside;
  const text = await host.query(command("sh", ["-c", settingsScript, "sh", ifName], { netns }), {
    why: `look at IPv6 of container interface "${ifName}"`,
    tolerate: ["missing"],
  });
  if (text !== undefined) {
    await host.apply(planRouterSettings(inside, { heed: parseRouterSettings(text), autoconf }));
  }
}

/** Reads the output of the script. */
export function parseRouterSettings(text: string): RouterSettings {
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
 * Plans to make an interface accept router advertisements. An interface that is up has sent its router
 * solicitations already, or was not to send them: its IPv6 restarts, unless that would remove an address.
 */
export function planRouterSettings(
  inside: NetnsInterface,
  { heed: { variables, up, settled }, autoconf }: {
    readonly heed: RouterSettings;
    readonly autoconf: boolean;
  },
): Step[] {
  const wanted = new Map([
    // An interface that forwards accepts advertisements with the value 2 alone.
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
  { netns, ifName }: NetnsInterface,
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

/** A script that prints a line at every change of addresses or routes, until its stdin is closed. */
const watchScript = 'ip -6 monitor address route 2>/dev/null & read -r _; kill "$!"';

/** A script that prints what `readSlaacState` reads. */
const showScript = 'ip -j -6 addr show dev "$1" 2>/dev/null; echo --; ip -j -6 route show';

/** Milliseconds between looks without a change: the first change may be missed. */
const lookInterval = 1000;

/**
 * Waits until the kernel has made an address and duplicate address detection has ended. The kernel keeps
 * the address as routers advertise, and has the routes. Throws a `CniError` that says what is missing
 * when the time is over, and when another host has the address.
 */
export async function awaitSlaacAddress(
  host: Host,
  { netns, ifName, within, signal }: NetnsInterface & {
    /** Milliseconds. */
    readonly within: number;
    /** Ends the wait. */
    readonly signal: AbortSignal;
  },
): Promise<Result> {
  const end = performance.now() + within;
  const watch = argv(command("sh", ["-c", watchScript], { netns }));
  await using changes = new MonitorProcess(...watch);
  for (;;) {
    const state = await lookAt(host, { netns, ifName });
    if (state.kind === "ready") return { interfaces: [], ips: [...state.ips], routes: [], dns: {} };
    const left = end - performance.now();
    if (state.kind === "duplicate") throw new CniError(codes.refused, state.message);
    if (left <= 0 || signal.aborted) throw new CniError(codes.tryAgainLater, state.message);
    await changes.heard(Math.min(left, lookInterval), signal);
  }
}

async function lookAt(host: Host, { netns, ifName }: NetnsInterface) {
  const text = await host.query(command("sh", ["-c", showScript, "sh", ifName], { netns }), {
    why: `look at IPv6 of container interface "${ifName}"`,
  });
  const [addresses = "", routes = ""] = (text ?? "").split("--\n");
  return readSlaacState(ifName, { addresses, routes });
}
