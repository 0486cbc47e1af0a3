// Speaking to the server. What it refuses is thrown as an Error with its own sentence.

const UNREACHED = "The server cannot be reached: is it still running?";

async function answerOf(response) {
  const text = await response.text();
  let content = null;
  try {
    content = text ? JSON.parse(text) : null;
  } catch {
    throw new Error(`The server gave an answer that is not understood (${response.status}).`);
  }
  if (!response.ok) {
    const error = new Error(content?.detail ?? `The server refused (${response.status}).`);
    error.status = response.status;
    throw error;
  }
  return content;
}

export async function ask(path, method = "GET", body = undefined) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Error(UNREACHED);
  }
  return answerOf(response);
}

// Sends a file as it is; `onProgress` is told the share that is sent (fetch cannot tell it).
export function upload(file, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/rasters?name=${encodeURIComponent(file.name)}`);
    request.upload.onprogress = (event) => onProgress(event.loaded / Math.max(event.total, 1));
    request.onerror = () => reject(new Error(`The upload broke off. ${UNREACHED}`));
    request.onload = () => {
      const response = new Response(request.responseText, { status: request.status });
      answerOf(response).then(resolve, reject);
    };
    request.send(file);
  });
}
