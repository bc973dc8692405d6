// A front end, as far as its types: compiled by tests/unit/test_generated.py, never run.
import type {
  AgentStatus,
  AssetValidationError,
  AssetValidationState,
  ErrorCode,
  Event as AgentEvent,
  Methods,
  ModelMetadata,
  ModelRow,
  Refusal,
} from "../../docs/reference/pumas-agent";

declare function call<M extends keyof Methods>(method: M, params: Methods[M]["params"]): Promise<Methods[M]["result"]>;

const COLOURS: Record<AssetValidationState, string> = { valid: "green", degraded: "amber", invalid: "red" };

export async function health(): Promise<string[]> {
  const page = await call("list_models", { storage_kind: "external_reference", limit: 50 });
  return page.models.map((row: ModelRow) => `${row.officialName}: ${COLOURS[row.validation_state ?? "valid"]}`);
}

export async function problems(id: string): Promise<string[]> {
  const model = await call("get_model", { model_id: id });
  return model.validation_errors.map((found: AssetValidationError) => `${found.path ?? "."}: ${found.code}`);
}

export async function entryPath(id: string): Promise<string> {
  const descriptor = await call("resolve_model_execution_descriptor", { model_id: id });
  const where: string = descriptor.entry_path;
  const variant: string | null = descriptor.load_variant;
  return variant === null ? where : `${where} (${variant})`;
}

export async function changedSince(cursor: string): Promise<string[]> {
  const feed = await call("list_model_library_updates_since", { cursor });
  return (feed.events ?? []).map((event) => event.model_id);
}

export async function follow(cursor: string): Promise<string> {
  const begun = await call("agent.subscribe", { topics: ["alerts", "models"], cursor });
  return begun.snapshot_required ? "load anew" : begun.cursor;
}

export function told(event: AgentEvent): string | undefined {
  return event.topic === "alerts" ? event.alert?.code : event.update?.model_id;
}

export async function status(): Promise<AgentStatus> {
  return call("agent.status", {});
}

export function why(code: ErrorCode, data: unknown): string {
  return code === "asset_not_valid" ? (data as Refusal).hint : code;
}

export function foreignKey(metadata: ModelMetadata): unknown {
  return metadata["a_key_of_another_program"];
}

// @ts-expect-error: a method that does not exist
void call("delete_everything", {});
// @ts-expect-error: a state that does not exist
void call("list_models", { validation_state: "healthy" });
// @ts-expect-error: a parameter is missing
void call("get_model", {});
// @ts-expect-error: a method without parameters takes none
void call("agent.health", { verbose: true });
