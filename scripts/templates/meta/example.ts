/**
 * example: lets the container's interface take packets that are for others. Say
 * here what yours does.
 *
 * Owns: the mode of the interface, which DEL takes back. Runs: `ip` (inside, by
 * `nsenter`).
 *
 * ```json
 * { "type": "example" }
 * ```
 *
 * @module
 */
import type { Infer } from "../../../cni/decode.ts";
import type { Request } from "../../../cni/plugin.ts";
import type { Result } from "../../../cni/types.ts";
import type { NetnsRef } from "../../../host/command.ts";
import type { Link } from "../../../host/ip_link.ts";
import type { Step } from "../../../host/step.ts";
import { boolean, object, withDefault } from "../../../cni/decode.ts";
import { CniError, codes } from "../../../cni/error.ts";
import { definePlugin } from "../../../cni/plugin.ts";
import { serve } from "../../../cni/serve.ts";
import { setLink, showLink } from "../../../host/ip_link.ts";
import { requireChained } from "../../../recipes/chained.ts";
import { requirePrevResult, throwDifferences } from "../../../recipes/check.ts";
import { containerNetns, liveNetns } from "../../../recipes/container.ts";
import { queryLinks } from "../../../recipes/links.ts";
import { contradictsResult } from "../../../recipes/attachment.ts";
import { requireTools } from "../../../recipes/status.ts";

/** Each key has its type, its default and its line in the table of docs/plugins/example.md. */
const conf = object({
  promisc: withDefault(boolean(), true, "Take packets for others."),
});
type Conf = Infer<typeof conf>;

/** The example plugin. */
export const plugin = definePlugin<Conf>({
  type: "example",
  about: "lets a container's interface take packets for others",
  needs: "iproute2",
  permissions: { run: ["ip", "nsenter"], read: true, write: [] },
  conf,
  add,
  check,
  del,
  gc: () => Promise.resolve(),
  status,
});

/** Gather facts, plan, apply; the result is that of the plugins before. */
async function add(req: Request<Conf>): Promise<Result> {
  const result = requireChained(req);
  const netns = containerNetns(req);
  const link = await findLink(req, netns);
  if (!link) {
    const problem = "no such link, or another than the result of the plugins before names";
    throw new CniError(
      codes.objectMissing,
      `Cannot find container interface "${req.ifName}": ${problem}`,
    );
  }
  await req.host.apply(planAdd(req.conf, { netns, link }));
  return result;
}

/** The container's interface, the same one for every verb: not another that has its name meanwhile. */
async function findLink(req: Request<Conf>, netns: NetnsRef): Promise<Link | undefined> {
  const [link] = await queryLinks(req.host, showLink(req.ifName, { netns }));
  return link && !contradictsResult(link, req) ? link : undefined;
}

/** What a plan is made from. */
interface Facts {
  readonly netns: NetnsRef;
  readonly link: Pick<Link, "name" | "promiscuity">;
}

/** A plan is a pure function: its test compares shell lines. What is right already is no step, and has no undo. */
export function planAdd({ promisc }: Conf, { netns, link: { name, promiscuity } }: Facts): Step[] {
  if (!promisc || promiscuity > 0) return [];
  return [{
    why: `let container interface "${name}" take packets for others`,
    do: setLink(name, { promisc: true, netns }),
    undo: setLink(name, { promisc: false, netns }),
  }];
}

async function check(req: Request<Conf>): Promise<void> {
  requirePrevResult(req);
  const link = await findLink(req, containerNetns(req));
  const own = `container interface "${req.ifName}"`;
  throwDifferences(req.network, [
    ...(link ? [] : [`${own} is missing`]),
    ...(link?.promiscuity === 0 && req.conf.promisc ? [`${own} takes no packets for others`] : []),
  ]);
}

/**
 * Succeeds when there is nothing to take back. What was there before it does not know: one
 * that gives that back keeps a record of it (`recipes/record.ts`), as `tuning` does.
 */
async function del(req: Request<Conf>): Promise<void> {
  const netns = req.conf.promisc ? liveNetns(req) : undefined;
  if (!netns) return;
  const link = await findLink(req, netns);
  if (link) await req.host.apply(planDel({ netns, link }));
}

/** A step of a removal tolerates that there is nothing to remove. */
export function planDel({ netns, link: { name } }: Facts): Step[] {
  return [{
    why: `let container interface "${name}" take its own packets alone`,
    do: setLink(name, { promisc: false, netns }),
    tolerate: ["missing"],
  }];
}

function status(): Promise<void> {
  requireTools(["ip", "nsenter"]);
  return Promise.resolve();
}

if (import.meta.main) await serve(plugin);
