/**
 * Delegation to IPAM plugins: which verbs they see, with which environment and
 * stdin, and what becomes of their errors (specification section 4).
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { Json, JsonObject } from "../cni/types.ts";
import { Attachment } from "./harness/attachment.ts";
import { isListing } from "./harness/guest.ts";
import { rowTest } from "./harness/need.ts";
import type { PluginCall } from "./harness/plugin.ts";
import { addressesOf, callPlugin, errorObject, fail, succeed } from "./harness/plugin.ts";
import { fails, prints, Recorder } from "./harness/recorder.ts";
import { inert } from "./harness/residue.ts";
import { firstRows } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

/** Interface plugins that hand the addresses to an IPAM plugin, one row each; for guests none: it is the same code. */
const delegating = isListing() ? [] : firstRows(({ delegates }) => delegates === true);

for (const row of delegating) {
  const ipamType = "recorded-ipam";

  /** An attachment whose IPAM plugin is a recorder. */
  const recorded = async (sandbox: Sandbox, recorder: Recorder, ipamKeys: JsonObject = {}) => {
    const extra = { ipam: { type: ipamType, ...ipamKeys }, "x-kept": [1, { b: "ü" }] };
    const attachment = await Attachment.create(sandbox, row, { extra });
    const env = { CNI_PATH: `/nowhere:${recorder.dir}`, CNI_ARGS: "IgnoreUnknown=1;K=V" };
    const call = (verb: Parameters<Attachment["call"]>[0]) => attachment.call(verb, { env });
    return { attachment, call, env };
  };
  const address = {
    cniVersion: "1.1.0",
    ips: [{ address: "10.77.0.2/24", gateway: "10.77.0.1" }],
    routes: [{ dst: "0.0.0.0/0" }],
    dns: { nameservers: ["10.77.0.1"] },
  };

  rowTest(row, "its IPAM plugin gets every verb unchanged", async (sandbox, test) => {
    using recorder = new Recorder();
    recorder.add(ipamType, { ADD: prints(address) });
    const { attachment, call, env } = await recorded(sandbox, recorder);
    const verbs = ["STATUS", "ADD", "CHECK", "DEL", "GC"] as const;
    const sent: PluginCall[] = [];
    for (const verb of verbs) {
      const next = verb === "GC" ? { ...attachment.gcCall([]), env } : call(verb);
      sent.push(next);
      const json = await succeed(sandbox, next);
      if (verb === "ADD") attachment.result = json;
    }
    assertEquals(addressesOf(attachment.result!), ["10.77.0.2/24"]);
    assertEquals(attachment.result!["dns"] as Json, address.dns);
    const calls = recorder.calls(ipamType);
    assertEquals(calls.map(({ verb }) => verb), [...verbs]);
    for (const [index, verb] of verbs.entries()) {
      await test.step(verb, () => {
        const { stdin, env } = calls[index]!;
        assertEquals(stdin, JSON.stringify(sent[index]!.config));
        assertEquals(env["CNI_ARGS"], verb === "GC" ? env["CNI_ARGS"]! : "IgnoreUnknown=1;K=V");
        assertEquals(env["CNI_PATH"], `/nowhere:${recorder.dir}`);
        assertEquals(env["CNI_CONTAINERID"] ?? "", sent[index]!.containerId);
        assertEquals(env["CNI_NETNS"] ?? "", sent[index]!.netns);
        assertEquals(env["CNI_IFNAME"] ?? "", sent[index]!.ifname);
      });
    }
  });

  rowTest(
    row,
    "an IPAM plugin that may ask the network finds the interface up",
    async (sandbox) => {
      using recorder = new Recorder();
      const show = 'nsenter "--net=$CNI_NETNS" ip -o link show dev "$CNI_IFNAME" up';
      recorder.add(ipamType, { ADD: { ...prints(address), run: `[ "$(${show})" ] || exit 9` } });
      const { attachment, call } = await recorded(sandbox, recorder);
      attachment.result = await succeed(sandbox, call("ADD"));
      await succeed(sandbox, call("CHECK"));
      await succeed(sandbox, call("DEL"));
    },
  );

  rowTest(
    row,
    "a lease is released while the interface is there",
    async (sandbox, test) => {
      const leases = "dhcp";
      const show = 'nsenter "--net=$CNI_NETNS" ip -o link show dev "$CNI_IFNAME" up';
      const looks = { run: `[ "$(${show})" ] || exit 9` };
      for (const [title, DEL] of Object.entries({ DEL: {}, "failed DEL": fails(11, "not now") })) {
        await test.step(title, async () => {
          using recorder = new Recorder();
          recorder.add(leases, { ADD: prints(address), DEL: { ...DEL, ...looks } });
          const { attachment, call } = await recorded(sandbox, recorder, { type: leases });
          attachment.result = await succeed(sandbox, call("ADD"));
          if (title === "DEL") await succeed(sandbox, call("DEL"));
          else assertEquals((await fail(sandbox, call("DEL"))).code, 11);
          assert(!await sandbox.hasLink(attachment.netns, attachment.ifname));
        });
      }
      await test.step("GC", async () => {
        using recorder = new Recorder();
        const { attachment, call, env } = await recorded(sandbox, recorder, { type: leases });
        const there = `CNI_NETNS=${attachment.netns} CNI_IFNAME=${attachment.ifname}`;
        const GC = { run: `${there}; ${looks.run}` };
        recorder.add(leases, { ADD: prints(address), GC });
        attachment.result = await succeed(sandbox, call("ADD"));
        await succeed(sandbox, { ...attachment.gcCall([]), env });
        await succeed(sandbox, call("DEL"));
      });
      await test.step("a failed ADD", async () => {
        using recorder = new Recorder();
        recorder.add(leases, { ADD: fails(123, "no address for you"), DEL: looks });
        const { attachment, call } = await recorded(sandbox, recorder, { type: leases });
        const { details = "" } = await fail(sandbox, call("ADD"));
        assert(!details.includes("Cannot undo"), details);
        assertEquals(recorder.log(), [`${leases} ADD`, `${leases} DEL`]);
        assert(!await sandbox.hasLink(attachment.netns, attachment.ifname));
      });
    },
  );

  rowTest(row, "the error of its IPAM plugin is relayed and DEL follows", async (sandbox) => {
    using recorder = new Recorder();
    recorder.add(ipamType, { ADD: fails(123, "no address for you") });
    const { call } = await recorded(sandbox, recorder);
    const before = await snapshot(sandbox);
    const { code, msg } = await fail(sandbox, call("ADD"));
    assertEquals(code, 123);
    assertStringIncludes(msg, "no address for you");
    assertEquals(recorder.log(), [`${ipamType} ADD`, `${ipamType} DEL`]);
    assertSame(before, await snapshot(sandbox), { allow: inert(row.residue) });
  });

  rowTest(row, "errors of its IPAM plugin keep their code in every verb", async (sandbox, test) => {
    const codes = { STATUS: 50, CHECK: 110, DEL: 11, GC: 120 } as const;
    for (const [verb, code] of Object.entries(codes)) {
      await test.step(verb, async () => {
        using recorder = new Recorder();
        recorder.add(ipamType, { ADD: prints(address), [verb]: fails(code, "not now") });
        const { attachment, call, env } = await recorded(sandbox, recorder);
        attachment.result = await succeed(sandbox, call("ADD"));
        const next = verb === "GC" ? { ...attachment.gcCall([]), env } : call(verb as "DEL");
        const error = await fail(sandbox, next);
        assertEquals(error.code, code);
        assertStringIncludes(error.msg, "not now");
        recorder.add(ipamType, { DEL: {} });
        await succeed(sandbox, call("DEL"));
      });
    }
  });

  rowTest(row, "an IPAM plugin that breaks the protocol is an error", async (sandbox, test) => {
    const broken = {
      "no output": {},
      "no JSON": { stdout: "hello" },
      "two values": { stdout: "{}{}" },
      "no addresses": prints({ cniVersion: "1.1.0" }),
      "a bad address": prints({ cniVersion: "1.1.0", ips: [{ address: "10.0.0.300/24" }] }),
      "an unknown version": prints({ ...address, cniVersion: "7.0.0" }),
      "a bare failure": { exit: 3, stderr: "segmentation fault" },
    };
    for (const [title, answer] of Object.entries(broken)) {
      await test.step(title, async () => {
        using recorder = new Recorder();
        recorder.add(ipamType, { ADD: answer });
        const { call } = await recorded(sandbox, recorder);
        const before = await snapshot(sandbox);
        const output = await callPlugin(sandbox, call("ADD"));
        errorObject(call("ADD"), output);
        assertEquals(recorder.log().at(-1), `${ipamType} DEL`);
        assertSame(before, await snapshot(sandbox), { allow: inert(row.residue) });
      });
    }
  });

  rowTest(row, "an IPAM plugin that is missing is an error", async (sandbox, test) => {
    for (const type of ["no-such-ipam", "../recorded-ipam", "/bin/true", ".", "a b"]) {
      await test.step(type, async () => {
        using recorder = new Recorder();
        const { call } = await recorded(sandbox, recorder, { type });
        const before = await snapshot(sandbox);
        await fail(sandbox, call("ADD"));
        assertSame(before, await snapshot(sandbox), { allow: inert(row.residue) });
      });
    }
  });
}
