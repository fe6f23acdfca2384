/**
 * Fakes for the tests of the agent: a disk in memory, and namespaces that are there.
 *
 * @module
 */
import type { AttachmentKey } from "../../../cni/attachment_key.ts";
import type { JsonObject } from "../../../cni/types.ts";
import type { NetnsState } from "../../../ns/netns.ts";
import type { Entry, Family, Intent } from "../lease/lease_record.ts";
import type { AllocateArgs } from "../rpc/dhcp_service.ts";
import type { AgentTools } from "./leases.ts";
import { FakeTools } from "./testing_keeper.ts";
import { Turns } from "./fair_queue.ts";

/** Tools of an agent: a disk in memory, and namespaces that are there unless they are gone. */
export class FakeAgentTools extends FakeTools implements AgentTools {
  readonly acquisitions = new Turns(4);
  readonly socket: string;
  readonly hostPrefix: string;
  readonly broadcast: boolean;
  /** Acquisitions that are noted, by path of the lease. */
  readonly intents = new Map<string, Intent>();
  /** Inodes of namespaces that are not 1. */
  readonly inodes = new Map<string, number>();

  /** Sockets of other agents that run. */
  readonly served = new Set(["/run/other.sock"]);

  constructor(
    { hostPrefix = "", broadcast = false, socket = "/run/cni/dhcp.sock" } = {},
  ) {
    super();
    this.socket = socket;
    this.hostPrefix = hostPrefix;
    this.broadcast = broadcast;
  }

  readonly inspect = (path: string): NetnsState => {
    if (this.gone.has(path)) return { is: "missing", path };
    const identity = { dev: 4, ino: this.inodes.get(path) ?? 1 };
    return { is: "namespace", netns: { path }, identity };
  };

  readonly unlessServed = (socket: string, task: () => void): boolean => {
    if (this.served.has(socket)) return false;
    task();
    return true;
  };

  override readonly store = {
    write: (entry: Entry) => {
      if (this.full) throw new Error("Cannot write: no space");
      this.disk.set(entry.path, entry);
    },
    remove: ({ path }: Pick<Entry, "path">) => void this.disk.delete(path),
    read: (path: string) => this.disk.get(path),
    all: () => [...this.disk.values()],
    intend: (intent: Intent) => void this.intents.set(intent.path, intent),
    forget: (path: string) => void this.intents.delete(path),
    intent: (path: string) => this.intents.get(path),
    intents: () => [...this.intents.values()],
    pathOf: ({ network, containerId, ifName }: AttachmentKey, family: Family = 4) => {
      const end = family === 6 ? ".v6.json" : ".json";
      return Promise.resolve(`/leases/${network}-${containerId}-${ifName}${end}`);
    },
  };
}

/** A call of a plugin for `eth0` of container `c1` on network `net`. */
export function argsOf(parts: Partial<AllocateArgs> = {}, ipam: JsonObject = {}): AllocateArgs {
  const config = { cniVersion: "1.1.0", name: "net", type: "bridge", ipam };
  return {
    containerID: "c1",
    netns: "/run/netns/c1",
    ifname: "eth0",
    args: "",
    path: "",
    netnsOverride: "",
    stdin: new TextEncoder().encode(JSON.stringify(config)),
    ...parts,
  };
}
