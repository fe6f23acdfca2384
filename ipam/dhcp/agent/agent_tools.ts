/**
 * What the lease agent works with: everything that touches the host.
 *
 * @module
 */
import type { NetnsState } from "../../../ns/netns.ts";
import type { LeaseStore } from "../lease/lease_store.ts";
import type { FairQueue } from "./fair_queue.ts";
import type { KeeperTools } from "./lease_keeper.ts";

/** What keepers work with, and further tools of the agent. */
export interface AgentTools extends KeeperTools {
  readonly store: Pick<
    LeaseStore,
    | "write"
    | "remove"
    | "read"
    | "all"
    | "pathOf"
    | "writeIntent"
    | "removeIntent"
    | "readIntent"
    | "allIntents"
  >;
  /** Tells what is at a path. */
  readonly inspect: (path: string) => NetnsState;
  /** Queue of exchanges that a plugin waits for. */
  readonly acquisitions: FairQueue;
  /** The agent's socket; a lease with this socket is the agent's own. */
  readonly socket: string;
  /** Runs a task in place of the agent of a socket, unless that runs; tells whether it has run it. */
  readonly unlessAgentRuns: (socket: string, task: () => void) => boolean;
  /** Precedes the path of every namespace. */
  readonly hostPrefix: string;
  /** Asks servers for broadcast answers. */
  readonly broadcast: boolean;
}
