/**
 * The real firewalld for a test: inside the namespace that plays the host, on a
 * system bus of its own. `/run` is this run's own, so the bus stands where
 * everybody looks for it; what firewalld keeps in `/etc` and `/var/log` is covered.
 *
 * @module
 */
import { Child, execute, must } from "./process.ts";
import type { Sandbox } from "./sandbox.ts";

const busDir = "/run/dbus";
const covered = ["/etc/firewalld", "/var/log"] as const;

/** Everybody may do everything: there is nobody else. */
const busConfig = `<busconfig>
  <type>system</type>
  <listen>unix:path=${busDir}/system_bus_socket</listen>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
</busconfig>
`;

const name = "org.fedoraproject.FirewallD1";
const path = "/org/fedoraproject/FirewallD1";

/** A running firewalld; gone, with its bus, when disposed of. */
export class Firewalld implements AsyncDisposable {
  readonly #children: Child[] = [];

  private constructor() {}

  /** Starts it in the host of a test, with its default zone `public`. */
  static async start(sandbox: Sandbox): Promise<Firewalld> {
    const firewalld = new Firewalld();
    for (const dir of covered) {
      await must(["mount", "-t", "tmpfs", "-o", "mode=0755", "denocni", dir]);
    }
    const config = "/run/denocni-bus.conf";
    Deno.writeTextFileSync(config, busConfig);
    Deno.mkdirSync(busDir, { recursive: true });
    const bus = ["dbus-daemon", `--config-file=${config}`, "--nofork", "--nopidfile"];
    // The address comes once the bus can be called. It complains of limits that it may not raise.
    const quiet = ["sh", "-c", 'exec "$@" --print-address 2>/dev/null', "sh"];
    await firewalld.#run([...quiet, ...bus]).line();
    const daemon = firewalld.#run([
      "nsenter",
      `--net=${sandbox.host}`,
      "--",
      "firewalld",
      "--nofork",
      "--nopid",
    ]);
    await firewalld.#ready(daemon);
    // A zone's chains are made at its first source, and stay.
    for (const method of ["addSource", "removeSource"]) {
      await firewalld.#call(`${name}.zone`, method, "ss", "trusted", "192.0.2.77");
    }
    return firewalld;
  }

  /** `firewall-cmd --reload`: what is not permanent is lost. */
  async reload(): Promise<void> {
    await this.#call(name, "reload");
  }

  /** Sources of a zone at the moment. */
  async sources(zone: string): Promise<string[]> {
    const text = await this.#call(`${name}.zone`, "getSources", "s", zone);
    return [...text.matchAll(/"([^"]+)"/g)].map(([, source]) => source!).sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children.toReversed()) await child[Symbol.asyncDispose]();
    Deno.removeSync(busDir, { recursive: true });
    for (const dir of covered) await must(["umount", dir]);
  }

  #call(...words: string[]): Promise<string> {
    return must(["busctl", "--system", "call", name, path, ...words]);
  }

  #run(argv: readonly string[]): Child {
    const child = new Child(argv, {});
    this.#children.push(child);
    return child;
  }

  /** The bus tells of a new name only to those who ask before; so this asks again and again. */
  async #ready(daemon: Child): Promise<void> {
    const bus = "org.freedesktop.DBus";
    const ask = ["call", bus, "/org/freedesktop/DBus", bus, "GetNameOwner", "s", name];
    let ended = false;
    daemon.status.then(() => ended = true);
    while ((await execute(["busctl", "--system", ...ask])).code !== 0) {
      if (ended) throw new Error("Cannot start firewalld: it has ended");
    }
  }
}
