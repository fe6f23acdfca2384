/**
 * What the lease agent of dhcp costs while it keeps 1, 100 and 500 leases: its memory, and how
 * long a start with so many takes. `deno task bench --only dhcp` runs it in namespaces of its own.
 *
 * @module
 */
import { decodeMessage4 } from "../ipam/dhcp/codec/message4.ts";
import { golden4 } from "../ipam/dhcp/codec/testing_message4.ts";
import { clientIdentifier } from "../ipam/dhcp/conf/client_options.ts";
import { leaseOf4 } from "../ipam/dhcp/lease/lease4.ts";
import { LeaseStore } from "../ipam/dhcp/lease/lease_store.ts";
import { callList } from "../ipam/dhcp/rpc/denocni_service.ts";
import { createNetns, inspectNetns } from "../ns/netns.ts";
import { binDir } from "../tests/harness/plugin.ts";
import { Child } from "../tests/harness/process.ts";

const sizes = [1, 100, 500] as const;
const socket = "/run/dhcp-bench.sock";

async function main(): Promise<void> {
  const { path } = await createNetns("dhcp-bench");
  const dir = Deno.args[0] ?? binDir();
  console.log("leases   resident    its own      start");
  for (const size of sizes) {
    await fill(path, size);
    const start = performance.now();
    await using agent = new Child([`${dir}/dhcp`, "daemon", "-socketpath", socket], {});
    await served();
    const time = performance.now() - start;
    const { resident, own } = memoryOf(agent.pid);
    console.log(
      `${String(size).padStart(6)}${mib(resident)}${mib(own)}${time.toFixed(0).padStart(8)} ms`,
    );
  }
}

/** Writes leases of containers in one namespace; the times are so that none is due. */
async function fill(netns: string, size: number): Promise<void> {
  const state = inspectNetns(netns);
  if (state.is !== "namespace") throw new Error(`Cannot use "${netns}"`);
  const store = new LeaseStore();
  const lease = leaseOf4(decodeMessage4(golden4.ack)!, {
    now: Date.now(),
    age: 0,
    random: () => 0,
  });
  for (let n = 0; n < size; n++) {
    const containerId = `${n}`.padStart(64, "c");
    const attachment = { network: "bench", containerId, ifName: "eth0" };
    store.write({
      family: 4,
      ...attachment,
      path: await store.pathOf(attachment),
      agent: socket,
      netns,
      identity: state.identity,
      client: {
        clientId: clientIdentifier(`${containerId}/bench/eth0`),
        requested: [3, 1],
        provided: new Map(),
        broadcast: false,
        priority: 0,
      },
      lease,
      replacedAcks: [],
      generation: 1,
    });
  }
}

/** The agent answers once it has read its leases. */
async function served(): Promise<void> {
  for (;;) {
    try {
      await callList(await Deno.connect({ transport: "unix", path: socket }));
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

function memoryOf(pid: number): { resident: number; own: number } {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  const read = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]);
  return { resident: read("VmRSS"), own: read("RssAnon") };
}

function mib(kib: number): string {
  return `${(kib / 1024).toFixed(1)} MiB`.padStart(11);
}

if (import.meta.main) await main();
