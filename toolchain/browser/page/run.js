// Runs a network on the inputs that asked.json names, under each backend; posts what it gives, and
// how long an inference took in each measurement, in milliseconds.
const KINDS = { float32: Float32Array, int32: Int32Array, bool: Uint8Array };
const LEAST_MS = 10; // of one measurement

async function inputsOf(asked, inference) {
  const made = [];
  for (const [index, input] of asked.inputs.entries()) {
    const bytes = await (await fetch(`inputs/${inference}-${index}`)).arrayBuffer();
    made.push(tf.tensor(new KINDS[input.dtype](bytes), input.shape, input.dtype));
  }
  return made;
}

// A graph with loops can be executed asynchronously alone.
async function callerOf(asked, network) {
  if (asked.form === "layers") {
    return async (given) => network.predict(given.length === 1 ? given[0] : given);
  }
  const described = await (await fetch("network/model.json")).json();
  const node = (kind, name) => described.signature[kind][name].name;
  const wanted = asked.outputs.map((output) => node("outputs", output.name));
  const feeds = (given) =>
    Object.fromEntries(asked.inputs.map((input, i) => [node("inputs", input.name), given[i]]));
  try {
    tf.dispose(network.execute(feeds(await inputsOf(asked, 0)), wanted));
    return async (given) => network.execute(feeds(given), wanted);
  } catch (error) {
    if (!/dynamic|async/i.test(String(error))) throw error;
    return (given) => network.executeAsync(feeds(given), wanted);
  }
}

async function under(backend, asked) {
  if (!(await tf.setBackend(backend))) throw new Error(`no backend ${backend} in this browser`);
  await tf.ready();
  const network = await (asked.form === "graph" ? tf.loadGraphModel : tf.loadLayersModel)(
    "network/model.json");
  const call = await callerOf(asked, network);
  const inference = async (given) => {
    const found = [await call(given)].flat();
    const values = [];
    for (const tensor of found) values.push(await tensor.data());
    tf.dispose(found);
    return values;
  };
  let compared = 0;
  const enough = performance.now() + 1000 * asked.patience;
  for (let i = 0; i < asked.inferences && (i === 0 || performance.now() < enough); i++, compared++) {
    const given = await inputsOf(asked, i);
    for (const [index, values] of (await inference(given)).entries()) {
      await fetch(`outputs/${backend}/${i}-${index}`, { method: "POST", body: values });
    }
    tf.dispose(given);
  }
  const given = await inputsOf(asked, 0);
  const times = [];
  // a browser's clock is coarse: several inferences of a quick network are one measurement
  const trial = performance.now();
  await inference(given);
  const together = Math.max(1, Math.ceil(LEAST_MS / Math.max(0.05, performance.now() - trial)));
  const end = performance.now() + 1000 * asked.budget;
  do {
    const begun = performance.now();
    for (let i = 0; i < together; i++) await inference(given);
    times.push((performance.now() - begun) / together);
  } while (performance.now() < end && times.length < asked.most);
  tf.dispose(given);
  network.dispose();
  return { times, compared, error: "" };
}

async function main() {
  tf.wasm.setWasmPaths("library/");
  const asked = await (await fetch("asked.json")).json();
  for (const backend of asked.backends) {
    let said;
    try {
      said = await under(backend, asked);
    } catch (error) {
      said = { times: [], compared: 0, error: String(error) };
    }
    await fetch(`said/${backend}`, { method: "POST", body: JSON.stringify(said) });
  }
  console.log("edgewright: done");
}

main().catch((error) => console.log(`edgewright: failed: ${error}`));
