/**
 * What tests of leases of both families share: lives told as lines, and leases on the disk
 * that are none.
 *
 * @module
 */
import type { Action, Kept, Lease, LeaseEvent, Step } from "./lease_machine.ts";
import { advance } from "./lease_machine.ts";

/** When the lease of most tests was asked for. */
export const start = 1_700_000_000_000;

/** What happens, without its time. */
export type Short<A> = LeaseEvent<A> extends infer E
  ? E extends LeaseEvent<A> ? Omit<E, "now"> : never
  : never;

/** Seconds since the start, what happens then, and what is to be done. */
export type Line<A> = readonly [
  at: number,
  event: Short<A> | Short<A>["kind"],
  expected: string,
];

/** Seconds since the start, and what is to be done then. */
export type Told = readonly [at: number, words: string];

/** Tells what a lease's machine wants in words, and plays a life line by line. */
export class Teller<A, G extends { readonly kind: string }> {
  readonly #addressOf: (lease: Lease<A>) => string;

  constructor(addressOf: (lease: Lease<A>) => string) {
    this.#addressOf = addressOf;
  }

  /** One thing to do, in a word: `wait 1800`, `renew 208`; times are seconds since the start. */
  readonly word = (action: Action<A, G>): string => {
    switch (action.kind) {
      case "wait":
        return `wait ${(action.until - start) / 1000}`;
      case "exchange":
        return `${action.goal.kind} ${action.within / 1000}`;
      case "release":
        return `${action.goal.kind} from ${action.from}`;
      case "end":
        return `end: ${action.reason}`;
      case "change":
        return `change ${this.#addressOf(action.before)} ${this.#addressOf(action.after)}`;
      default:
        return action.kind;
    }
  };

  /** Everything that a step wants done. */
  words({ actions }: Step<A, G>): string {
    return actions.map(this.word).join(", ");
  }

  /** Plays a life; gives each line's time with what is to be done then, and the last state. */
  play(
    first: Step<A, G>,
    lines: readonly Line<A>[],
  ): { readonly told: Told[]; readonly state: Kept<A, G> } {
    let { state } = first;
    const told = lines.map(([at, event]): Told => {
      const whole = typeof event === "string" ? { kind: event } : event;
      const step = advance(state, { ...whole, now: start + at * 1000 } as LeaseEvent<A>);
      state = step.state;
      return [at, this.words(step)];
    });
    return { told, state };
  }
}

/** What {@linkcode Teller.play} has to tell of a life that goes as its lines say. */
export function expectedOf<A>(lines: readonly Line<A>[]): Told[] {
  return lines.map(([at, _, expected]) => [at, expected]);
}

/** A value on the disk that is no lease, and the issue that its reader tells. */
export type Damaged = readonly [what: string, value: unknown, issue: string];

const time = 'milliseconds since 1970 or "never"';
const order = "expireAt: expected since < renewAt ≤ rebindAt ≤ expireAt";

/** What is wrong with the JSON of a lease of either family, but for its acknowledgement's content. */
export function damagedLeases(
  text: (parts: Partial<Record<keyof Lease, unknown>>) => unknown,
  { times: { renewAt, rebindAt, expireAt }, ackText }: {
    /** Those of the lease that `text` writes. */
    readonly times: Readonly<Record<"renewAt" | "rebindAt" | "expireAt", number>>;
    /** `ack: expected … but received ` */
    readonly ackText: string;
  },
): Damaged[] {
  return [
    ["nothing", undefined, "expected object but received nothing"],
    ["a list", [], "expected object but received []"],
    ["no time", text({ renewAt: null }), `renewAt: expected ${time} but received null`],
    ["a negative time", text({ since: -1 }), `since: expected ${time} but received -1`],
    ["a broken time", text({ since: 1.5 }), `since: expected ${time} but received 1.5`],
    ["a time as text", text({ expireAt: "1" }), `expireAt: expected ${time} but received "1"`],
    [
      "an infinite time as a number",
      text({ expireAt: 1e999 }),
      `expireAt: expected ${time} but received null`,
    ],
    ["a lease of never", text({ since: "never" }), order],
    ["no time before T1", text({ since: renewAt }), order],
    ["T1 after T2", text({ renewAt: rebindAt + 1 }), order],
    ["T2 after the end", text({ rebindAt: expireAt + 1 }), order],
    ["no acknowledgement", text({ ack: "" }), `${ackText}""`],
    ["a number", text({ ack: 7 }), `${ackText}7`],
    ["half a byte", text({ ack: "0" }), `${ackText}"0"`],
    ["letters", text({ ack: "zz" }), `${ackText}"zz"`],
  ];
}
