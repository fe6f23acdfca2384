/**
 * The back end firewalld: the container's addresses become sources of a zone,
 * asked for on the system bus. One process for each address.
 *
 * @module
 */
import { CniError, codes } from "../../cni/error.ts";
import type { Command } from "../../host/command.ts";
import { command } from "../../host/command.ts";
import { formatCidr } from "../../host/ip.ts";
import { hasTool } from "../../host/spawn.ts";
import type { Step } from "../../host/step.ts";
import type { Host } from "../../ns/machine.ts";
import { requireTools } from "../../recipes/status.ts";
import { ingressByIptables } from "./by_iptables.ts";
import { ingressByNft } from "./by_nftables.ts";
import type { Backend } from "./conf.ts";
import type { Driver, Gone, Job } from "./driver.ts";

const busName = "org.fedoraproject.FirewallD1";

/** Where the system bus listens. */
const busSocket = "/run/dbus/system_bus_socket";

/** The back end firewalld. */
export const firewalld: Driver = { add, helpers, check, del, status };

/** `busctl --system --auto-start=no call DEST PATH INTERFACE.zone METHOD ss ZONE ADDRESS` */
export function zoneCall(
  method: "addSource" | "querySource" | "removeSource",
  { zone, address }: { readonly zone: string; readonly address: string },
): Command {
  return command("busctl", [
    "--system",
    "--auto-start=no",
    "call",
    busName,
    "/org/fedoraproject/FirewallD1",
    `${busName}.zone`,
    method,
    "ss",
    zone,
    address,
  ]);
}

/** Whether firewalld is on the bus. Starts nothing where there is no bus. */
export async function isRunning(host: Host): Promise<boolean> {
  if (!hasTool("busctl") || !await hasBus()) return false;
  const name = "org.freedesktop.DBus";
  const asked = command("busctl", [
    "--system",
    "call",
    name,
    "/org/freedesktop/DBus",
    name,
    "GetNameOwner",
    "s",
    busName,
  ]);
  const owner = await host.query(asked, {
    why: "ask whether firewalld runs",
    tolerate: ["missing", "denied", "other"],
  });
  return owner !== undefined;
}

function hasBus(): Promise<boolean> {
  return Deno.stat(busSocket).then(() => true, () => false);
}

async function add(job: Job): Promise<boolean> {
  const { host, conf, ingress } = job;
  await host.apply(planSources({ addresses: job.addresses.map(formatCidr), conf }));
  if (ingress && !await ingressByIptables.add(job)) await ingressByNft.add(job);
  return true;
}

/** One step for each address; one that is there already is not taken back. */
export function planSources(
  { addresses, conf: { firewalldZone: zone } }: {
    readonly addresses: readonly string[];
    readonly conf: { readonly firewalldZone: string };
  },
): Step[] {
  return addresses.map((address) => ({
    why: `add the address ${address} to ${zone} zone`,
    do: zoneCall("addSource", { zone, address }),
    undo: zoneCall("removeSource", { zone, address }),
    tolerate: ["exists"],
  }));
}

/** firewalld has no policies between bridges; without iptables nftables has them. */
function helpers({ ingress }: Job): readonly Backend[] {
  return ingress?.policy === "isolated" && hasTool("nft") ? ["nftables"] : [];
}

async function check(job: Job): Promise<string[]> {
  const { host, conf: { firewalldZone: zone }, ingress } = job;
  const problems: string[] = [];
  for (const address of job.addresses.map(formatCidr)) {
    const why = `find the address ${address} in ${zone} zone`;
    const answer = await host.query(zoneCall("querySource", { zone, address }), {
      why,
      tolerate: ["missing"],
    });
    // busctl prints the type and the value: `b true`.
    if (answer?.trim() !== "b true") problems.push(`address ${address} is not in ${zone} zone`);
  }
  if (!ingress) return problems;
  const rules = await ingressByIptables.check(job);
  const others = rules.length > 0 && hasTool("nft") ? await ingressByNft.check(job) : rules;
  return [...problems, ...(others.length > 0 ? rules : [])];
}

async function del(host: Host, { addresses, zone }: Gone): Promise<void> {
  if (addresses.length === 0 || !await isRunning(host)) return;
  await host.apply(
    addresses.map(formatCidr).map((address) => ({
      why: `remove the address ${address} from ${zone} zone`,
      do: zoneCall("removeSource", { zone, address }),
      tolerate: ["missing"],
    })),
  );
}

async function status(host: Host): Promise<void> {
  requireTools(["busctl"]);
  if (await isRunning(host)) return;
  throw new CniError(
    codes.notAvailable,
    `Cannot serve ADD: firewalld is not running: nobody owns "${busName}" on the system bus`,
  );
}
