/**
 * `route_localnet`: lets the kernel route what the host sends to 127.0.0.1 out
 * to a container. It is set only when the guard against neighbours stands.
 *
 * @module
 */
import type { Request } from "../../cni/plugin.ts";
import type { Cidr } from "../../host/ip.ts";
import { getRoute } from "../../host/ip_route.ts";
import { readProcIfExists } from "../../host/proc.ts";
import { sysctl } from "../../host/step.ts";
import type { Host } from "../../ns/machine.ts";
import type { Conf } from "./conf.ts";

/** Whether connections from the host to 127.0.0.1 are mapped, too. */
export function wantsLocalnet(
  { snat, target }: { readonly snat: boolean; readonly target: Cidr },
): boolean {
  return snat && target.family === 4;
}

/** Sets it on the link that leads to the container, if one does. */
export async function enableLocalnet(
  { conf, host }: Pick<Request<Conf>, "conf" | "host">,
  targets: readonly Cidr[],
): Promise<void> {
  for (const key of await variables(host, conf, targets)) {
    await host.apply([{ why: `set ${key} to 1`, do: sysctl(key, 1) }]);
  }
}

/** A line if it is not set. */
export async function checkLocalnet(
  { conf, host }: Pick<Request<Conf>, "conf" | "host">,
  targets: readonly Cidr[],
): Promise<string[]> {
  return (await variables(host, conf, targets))
    .filter((key) => readProcIfExists(`/proc/sys/${key}`)?.trim() !== "1")
    .map((key) => `${key} is not 1`);
}

async function variables(
  host: Host,
  { snat }: Conf,
  targets: readonly Cidr[],
): Promise<string[]> {
  const target = targets.find((target) => wantsLocalnet({ snat, target }));
  const dev = target && await linkTo(host, target);
  return dev ? [`net/ipv4/conf/${dev}/route_localnet`] : [];
}

async function linkTo(host: Host, target: Cidr): Promise<string | undefined> {
  const text = await host.query(getRoute(target), {
    why: "look for the route to the container",
    tolerate: ["missing", "other"],
  });
  const [route] = JSON.parse(text || "[]") as { readonly dev?: string }[];
  return route?.dev;
}
