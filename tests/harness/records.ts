/**
 * The format of a record: it is read as it was written, and counts as none as soon as one of
 * its fields is of another type or absent.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { Json } from "../../cni/types.ts";
import type { Records } from "../../recipes/record.ts";
import { readRecord } from "../../recipes/record.ts";

const attachment = { network: "net", containerId: "c1", ifName: "eth0" };

/** Asserts the format of records of one kind by the data of one, which has every field. */
export function assertRecordFormat<T>(kind: Records<T>, data: T): void {
  const json = JSON.parse(JSON.stringify(data)) as Json;
  const read = (text: string) => readText(text, kind);
  const readData = (data: Json) => read(JSON.stringify({ ...attachment, data }));
  assertEquals(JSON.stringify(readData(json)?.data), JSON.stringify(json));
  assertEquals(JSON.stringify(readData(extended(json))?.data), JSON.stringify(json));
  for (const text of ["", "{", "1", "null", "{}", "[]", JSON.stringify(attachment)]) {
    assertEquals(read(text), undefined, text);
  }
  for (const damaged of [...mistyped(json), ...incomplete(json, kind)]) {
    assertEquals(readData(damaged), undefined, JSON.stringify(damaged));
  }
}

function readText<T>(text: string, { decoder }: Records<T>) {
  const path = Deno.makeTempFileSync();
  Deno.writeTextFileSync(path, text);
  const record = readRecord(path, decoder);
  Deno.removeSync(path);
  return record;
}

/** A value with one more key in each object, as a newer version may write it. */
function extended(value: Json): Json {
  if (Array.isArray(value)) return value.map(extended);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([key, inner]) => [key, extended(inner)]);
  return { ...Object.fromEntries(entries), later: { added: [1] } };
}

/** Copies of a value in each of which one part is of another type. */
function* mistyped(value: Json): Generator<Json> {
  yield typeof value === "object" ? 1 : { a: [value] };
  if (typeof value !== "object" || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    for (const wrong of mistyped(inner as Json)) {
      yield Array.isArray(value) ? value.with(Number(key), wrong) : { ...value, [key]: wrong };
    }
  }
}

/** Copies of an object without one of the keys that must be there. */
function incomplete<T>(value: Json, { decoder: { fields = {} } }: Records<T>): Json[] {
  return Object.keys(fields).filter((key) => fields[key]!.required).map((key) => {
    const { [key]: _, ...rest } = value as Record<string, Json>;
    return rest;
  });
}
