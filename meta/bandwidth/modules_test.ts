import { assertEquals } from "@std/assert";
import { missingModules, neededModules } from "./modules.ts";

const lists = `kernel/drivers/net/ifb.ko.xz:
kernel/net/sched/cls_u32.ko:
kernel/net/sched/act_mirred.ko.zst: kernel/net/sched/act_other.ko.zst
kernel/net/sched/sch_ingress.ko
kernel/net/sched/sch_fq_codel.ko
`;

Deno.test("a module is there when a list has it or it is loaded", () => {
  const needed = neededModules({ queue: "fifo" });
  assertEquals(missingModules(needed, { lists, loaded: [] }), ["sch_tbf"]);
  assertEquals(missingModules(needed, { lists, loaded: ["sch_tbf"] }), []);
  assertEquals(missingModules(["act_other"], { lists, loaded: [] }), ["act_other"]);
  assertEquals(missingModules(["act_foo"], { lists: "x/act-foo.ko\n", loaded: [] }), []);
});

Deno.test("fq_codel is needed where it is asked for", () => {
  assertEquals(neededModules({ queue: "fq_codel" }).includes("sch_fq_codel"), true);
  assertEquals(neededModules({ queue: "fifo" }).includes("sch_fq_codel"), false);
});
