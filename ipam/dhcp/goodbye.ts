/**
 * Gives a lease back to its server: from the container, or from the host where the container's
 * namespace is gone. Nobody answers a release, so it is best effort either way.
 *
 * @module
 */
import type { NetnsRef } from "../../host/command.ts";
import type { Client, Goal } from "./exchange.ts";
import type { Held, Holding } from "./hold.ts";
import type { Entry, Intent } from "./store.ts";
import { option, readOption } from "./options.ts";

/** What a release works with. */
export interface Ways {
  /** Holds an exchange in a container. */
  readonly hold: (holding: Holding, signal: AbortSignal) => Promise<Held>;
  /** Sends a release from the host. */
  readonly releaseFromHost: (goal: Goal, client: Client) => Promise<unknown>;
  /** The namespace of a lease, as long as it is the one that the lease was for. */
  readonly netnsOf: (entry: Intent) => NetnsRef | undefined;
}

/** Milliseconds that a release may take. */
const limit = 5000;

/** Sends the release. Throws when a process cannot be started for it. */
export async function release(entry: Entry, ways: Ways): Promise<void> {
  const { ifName: dev, ask, lease: { ack } } = entry;
  const goal: Goal = {
    kind: "release",
    address: ack.yiaddr,
    server: readOption(ack.options, option.serverId)!,
  };
  const netns = ways.netnsOf(entry);
  const never = new AbortController().signal;
  const holding = netns && { netns, dev, goal, client: ask, within: limit };
  const held = holding && await ways.hold(holding, never).catch(() => undefined);
  if (held?.kind === "sent") return;
  await ways.releaseFromHost(goal, { ...ask, chaddr: ack.chaddr });
}
