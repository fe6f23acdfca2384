/**
 * Fakes for tests of the agent: a disk in memory, and namespaces that exist.
 *
 * @module
 */
import type { AttachmentKey } from "../../../cni/attachment_key.ts";
import type { JsonObject } from "../../../cni/types.ts";
import type { Family } from "../../../host/ip.ts";
import type { NetnsState } from "../../../ns/netns.ts";
import type { LeaseIntent, LeaseRecord } from "../lease/lease_record.ts";
import type { CmdArgs } from "../rpc/cni_gob.ts";
import type { AgentTools } from "./agent_tools.ts";
import { FairQueue } from "./fair_queue.ts";
import { FakeKeeperTools } from "./testing_keeper.ts";

/** Tools of an agent with a disk in memory. Every namespace exists unless it is in `gone`. */
export class FakeAgentTools extends FakeKeeperTools implements AgentTools {
  readonly acquisitions = new FairQueue(4);
  readonly socket: string;
  readonly hostPrefix: string;
  readonly broadcast: boolean;
  /** Intents by path of the lease. */
  readonly intents = new Map<string, LeaseIntent>();
  /** Inodes of namespaces by path; 1 when absent. */
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

  readonly unlessAgentRuns = (socket: string, task: () => void): boolean => {
    if (this.served.has(socket)) return false;
    task();
    return true;
  };

  override readonly store = {
    write: (record: LeaseRecord) => {
      if (this.full) throw new Error("Cannot write: no space");
      this.disk.set(record.path, record);
    },
    remove: ({ path }: Pick<LeaseRecord, "path">) => void this.disk.delete(path),
    read: (path: string) => this.disk.get(path),
    all: () => [...this.disk.values()],
    writeIntent: (intent: LeaseIntent) => void this.intents.set(intent.path, intent),
    removeIntent: (path: string) => void this.intents.delete(path),
    readIntent: (path: string) => this.intents.get(path),
    allIntents: () => [...this.intents.values()],
    pathOf: ({ network, containerId, ifName }: AttachmentKey, family: Family = 4) => {
      const end = family === 6 ? ".v6.json" : ".json";
      return Promise.resolve(`/leases/${network}-${containerId}-${ifName}${end}`);
    },
  };
}

/** Makes a plugin's call for `eth0` of container `c1` on network `net`. */
export function cmdArgsOf(parts: Partial<CmdArgs> = {}, ipam: JsonObject = {}): CmdArgs {
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
