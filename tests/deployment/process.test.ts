/**
 * The same without an engine: the executable, compiled as the Dockerfile compiles it, once per replica
 * with the environment that compose.yml gives its service.
 */
import { afterAll, beforeAll, describe } from "bun:test";
import { writeEnv } from "./compose_file.ts";
import { ProcessDeployment } from "./process_deployment.ts";
import { describeScenario } from "./scenario.ts";
import { ensureTools, TOOLS_MS } from "./tools.ts";

const STEP_MS = 180_000;

describe("compose.yml as processes", async () => {
  await ensureTools();
  const env = await writeEnv();
  let deployment: ProcessDeployment;

  beforeAll(async () => {
    deployment = await ProcessDeployment.start(env);
  }, STEP_MS + TOOLS_MS);
  afterAll(() => deployment?.stop(), STEP_MS);

  const { API_KEYS = "", JWT_SECRET = "" } = env.values;
  describeScenario({ deployment: () => deployment, secrets: { API_KEYS, JWT_SECRET } });
});
