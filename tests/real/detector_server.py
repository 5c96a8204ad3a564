"""A real object detector behind the OpenAI protocol: MobileNet SSD on COCO's classes.

It grounds the rule-made expressions of real COCO photos ("the only cup", "the second dog from the
left"): it detects, keeps the class that the expression names, and picks by the rule. Where nothing
of that class is found it answers null. Runs with its own Python:

    python detector_server.py MODEL.tflite LABELS.txt [THRESHOLD]
"""

from __future__ import annotations

import base64
import io
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

ORDINALS = {"first": 0, "second": 1, "third": 2, "fourth": 3, "fifth": 4}


class Detector:
    """Boxes of one class in a picture."""

    def __init__(self, model: str, labels: str, threshold: float) -> None:
        self.net = Interpreter(model, num_threads=1)
        self.net.allocate_tensors()
        self.inputs = self.net.get_input_details()
        self.outputs = self.net.get_output_details()
        self.threshold = threshold
        self.lock = threading.Lock()
        self.labels: dict[str, int] = {}
        with open(labels, encoding="utf-8") as lines:
            for line in lines:
                number, _, name = line.strip().partition(" ")
                if name:
                    self.labels[name.strip()] = int(number)

    def find(self, picture: Image.Image, label: int) -> list[list[float]]:
        """Boxes as x1, y1, x2, y2 in pixels, surest first."""
        pixels = np.asarray(picture.convert("RGB").resize((300, 300)), dtype=np.uint8)
        with self.lock:
            self.net.set_tensor(self.inputs[0]["index"], pixels[None])
            self.net.invoke()
            boxes, classes, scores, _ = (
                np.array(self.net.get_tensor(one["index"])[0]) for one in self.outputs
            )
        width, height = picture.size
        return [
            [x1 * width, y1 * height, x2 * width, y2 * height]
            for (y1, x1, y2, x2), kind, score in zip(boxes.tolist(), classes, scores, strict=True)
            if int(kind) == label and score >= self.threshold
        ]

    def ground(self, picture: Image.Image, description: str) -> list[float] | None:
        """The box that an expression means, or None."""
        names = [n for n in self.labels if re.search(rf"\b{re.escape(n)}\b", description)]
        if not names:
            return None
        boxes = self.find(picture, self.labels[max(names, key=len)])
        ordinal = next((at for word, at in ORDINALS.items() if f" {word} " in description), None)
        if "left" in description:
            boxes.sort(key=lambda box: box[0] + box[2])
            at = ordinal or 0
            return boxes[at] if at < len(boxes) else None
        if "largest" in description:
            boxes.sort(key=lambda box: (box[0] - box[2]) * (box[3] - box[1]))
        return boxes[0] if boxes else None


class Handler(BaseHTTPRequestHandler):
    """POST /v1/chat/completions."""

    protocol_version = "HTTP/1.1"
    detector: Detector

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        picture, text = request["messages"][0]["content"]
        encoded = picture["image_url"]["url"].partition(",")[2]
        description = re.search(r"describes:\n(.*)\nEnsure", text["text"], re.DOTALL)
        assert description
        image = Image.open(io.BytesIO(base64.b64decode(encoded)))
        box = self.detector.ground(image, description[1])
        answer = json.dumps({"bbox_2d": box and [round(edge, 1) for edge in box]})
        self.reply(
            {
                "model": "mobilenet-ssd",
                "choices": [{"message": {"role": "assistant", "content": answer},
                             "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1},
            }
        )  # fmt: skip

    def reply(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Silence."""


def main(model: str, labels: str, threshold: str = "0.35") -> None:
    Handler.detector = Detector(model, labels, float(threshold))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(json.dumps({"base_url": f"http://127.0.0.1:{server.server_port}/v1"}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
