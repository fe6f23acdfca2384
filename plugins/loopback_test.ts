import { assertEquals, assertRejects } from "@std/assert";
import { CniError, codes } from "../cni/error.ts";
import { callPlugin } from "../cni/request.ts";
import { makeCall } from "../cni/testing.ts";
import type { JsonObject, Result, Verb } from "../cni/types.ts";
import { processes } from "../host/fold.ts";
import { describe } from "../host/step.ts";
import { DryRun } from "../ns/machine.ts";
import { FakeHost } from "../ns/testing.ts";
import { planAdd, planDel, plugin } from "./loopback.ts";

const netns = { path: "/run/netns/c1" };
const inside = "nsenter --net=/run/netns/c1 ip";

Deno.test("planAdd() and planDel() start one process each", () => {
  const lines = (steps: ReturnType<typeof planAdd>) =>
    steps.map(({ do: action }) => describe(action));
  assertEquals(lines(planAdd(netns)), [
    `${inside} link set dev lo up`,
    `${inside} -d -j addr show dev lo`,
  ]);
  assertEquals(lines(planDel(netns)), [`${inside} link set dev lo down`]);
  assertEquals(processes(planAdd(netns)), 1);
  assertEquals(processes(planDel(netns)), 1);
});

/** Any namespace will do: nothing is carried out. */
const path = "/proc/self/ns/net";

interface Given {
  readonly config?: JsonObject;
  readonly addresses?: readonly string[];
  readonly up?: boolean;
}

/** `lo` as iproute2 shows it. */
function lo({ addresses = [], up = true }: Given): object {
  return {
    ifindex: 1,
    ifname: "lo",
    flags: up ? ["LOOPBACK", "UP", "LOWER_UP"] : ["LOOPBACK"],
    mtu: 65536,
    address: "00:00:00:00:00:00",
    addr_info: addresses.map((address) => {
      const [local, prefixlen] = address.split("/");
      return { local, prefixlen: Number(prefixlen), scope: "host" };
    }),
  };
}

/** Shows `lo` at the end of a plan, and when asked. */
class Showing extends FakeHost {
  constructor(readonly link: object) {
    super({ [`nsenter --net=${path} ip -d -j addr show dev lo`]: [link] });
  }

  override async apply(steps: Parameters<FakeHost["apply"]>[0]): Promise<string> {
    await super.apply(steps);
    return JSON.stringify([this.link]);
  }
}

function call(verb: Exclude<Verb, "VERSION">, given: Given = {}): Promise<Result | undefined> {
  const made = { ...makeCall({ config: given.config ?? {}, netns: path }), netnsOverride: true };
  return callPlugin(plugin, verb, made, { host: new Showing(lo(given)) });
}

Deno.test("ADD reports the first address of each family, IPv4 first", async () => {
  const addresses = ["::1/128", "127.0.0.1/8", "127.0.0.2/8"];
  assertEquals(await call("ADD", { addresses }), {
    interfaces: [{ name: "lo", mac: "00:00:00:00:00:00", sandbox: path }],
    ips: [{ interface: 0, address: "127.0.0.1/8" }, { interface: 0, address: "::1/128" }],
    routes: [],
    dns: {},
  });
  assertEquals((await call("ADD", { addresses: ["127.0.0.1/8"] }))!.ips.length, 1);
});

Deno.test("ADD passes a previous result on", async () => {
  const prevResult = { cniVersion: "1.1.0", ips: [{ address: "10.0.0.2/24" }] };
  const result = await call("ADD", { config: { prevResult }, addresses: ["127.0.0.1/8"] });
  assertEquals(result!.ips, prevResult.ips);
});

Deno.test("ADD refuses a loopback interface with any other address", async () => {
  for (const address of ["10.0.0.1/32", "fd00::1/128", "::2/128"]) {
    const error = await assertRejects(
      () => call("ADD", { addresses: ["127.0.0.1/8", "::1/128", address] }),
      CniError,
    );
    assertEquals(error.toJson(), {
      code: codes.refused,
      msg: `Cannot use loopback interface: address ${address} is not a loopback address`,
    });
  }
});

Deno.test("a dry run of ADD tells what the kernel would do", async () => {
  const host = new DryRun();
  const made = { ...makeCall({ config: {}, netns: path }), netnsOverride: true };
  const result = await callPlugin(plugin, "ADD", made, { host });
  assertEquals(result!.ips.map(({ address }) => address), ["127.0.0.1/8", "::1/128"]);
  assertEquals(host.steps, planAdd({ path }));
});

Deno.test("CHECK wants the interface up, and no record", async () => {
  await call("CHECK");
  const error = await assertRejects(() => call("CHECK", { up: false }), CniError);
  assertEquals([error.code, error.msg], [
    codes.checkFailed,
    'Cannot confirm attachment to network "mynet": loopback interface is down',
  ]);
});

Deno.test("DEL does nothing without a namespace of a container", async () => {
  for (const where of ["", "/no/such/namespace", "/dev/null", path]) {
    const host = new FakeHost();
    const made = { ...makeCall({ config: {}, netns: where }), netnsOverride: true };
    await callPlugin(plugin, "DEL", made, { host });
    assertEquals([host.asked, host.lines], [[], []]);
  }
});
