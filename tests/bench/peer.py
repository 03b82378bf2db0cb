"""The search a competent user would write today with PEFT, the HF Trainer, Ray Tune and Optuna; see `peer_search`.

    python -m tests.bench.peer --target cb --data sample --trials 12 --seeds 3 --steps 40 [--device cuda]

The actor and its backbone are kept between trials, rows are tokenised once, batches are padded to their own length,
the backbone is frozen and computes in bfloat16 where the device does natively, weak configurations are stopped after a
draw by ASHA, and a run that does not improve by the Trainer's early stopping. Of bfloat16 and float32 weights, with and
without autocast, with eager attention and sdpa, the way taken here was the fastest on two CPU cores. Prints one line of
JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import tempfile
import time
from typing import Any

os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "RAY_USAGE_STATS_ENABLED": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}

import psutil
import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

K, BATCH = 16, 32
Options = dict[str, Any]
Rows = list[dict[str, Any]]


class Bench:
    """What a worker keeps: the backbone, the tokenised rows, and how one run is trained."""

    def __init__(self, options: Options) -> None:
        import transformers as t

        from pipelines.backbone import default_dtype
        from pipelines.locate import locate
        from tasks import draw_fewshot, open_data

        t.logging.set_verbosity_error()
        t.logging.disable_progress_bar()
        self.options, self.t = options, t
        self.device = torch.device(options["device"])
        self.bf16 = default_dtype(self.device) == torch.bfloat16
        folder = locate("minilm")
        self.tokenizer = t.AutoTokenizer.from_pretrained(folder)
        source = open_data(options["data"], [options["target"]])
        task = source.task(options["target"])
        self.label_count = len(task.labels)
        train, test = source.load(task, "train"), source.load(task, "validation")
        self.draws = [
            (self.tokenised(draw.train), self.tokenised(draw.dev))
            for draw in (
                draw_fewshot(train, K, seed, per_class=False, dev="k", protocol="balanced")
                for seed in range(options["seeds"])
            )
        ]
        self.test = self.tokenised(test.examples)
        self.base = t.AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=self.label_count,
            dtype=torch.bfloat16 if self.bf16 else torch.float32,
            attn_implementation="eager" if self.device.type == "cpu" and self.bf16 else "sdpa",
        )

    def tokenised(self, examples: Any) -> Rows:
        """Rows with token ids, once."""
        columns = [list(column) for column in zip(*(example.texts for example in examples), strict=True)]
        out = self.tokenizer(*columns, truncation=True, max_length=256)
        labels = [example.label for example in examples]
        return [
            {"input_ids": ids, "attention_mask": mask, "label": label}
            for ids, mask, label in zip(out["input_ids"], out["attention_mask"], labels, strict=True)
        ]

    def train(self, config: dict[str, Any], draw: int, folder: str | None) -> tuple[float, float | None]:
        """Dev accuracy of the best evaluation; with a folder for checkpoints also the test accuracy of the best."""
        from peft import PromptTuningConfig, TaskType, get_peft_model

        t, options = self.t, self.options
        t.set_seed(draw)
        self.base.classifier = torch.nn.Linear(self.base.config.hidden_size, self.label_count)
        peft_config = PromptTuningConfig(task_type=TaskType.SEQ_CLS, num_virtual_tokens=config["m"])
        model = get_peft_model(self.base, peft_config)
        train, dev = self.draws[draw]
        every = max(1, options["steps"] // 5)
        with tempfile.TemporaryDirectory() as scratch:
            arguments = t.TrainingArguments(
                output_dir=folder or scratch, max_steps=options["steps"], per_device_train_batch_size=BATCH,
                per_device_eval_batch_size=64, learning_rate=config["lr"], warmup_steps=options["steps"] // 10,
                eval_strategy="steps", eval_steps=every, save_strategy="steps" if folder else "no", save_steps=every,
                save_total_limit=1, load_best_model_at_end=folder is not None, metric_for_best_model="accuracy",
                greater_is_better=True, logging_strategy="no", report_to="none", disable_tqdm=True, weight_decay=0.0,
                bf16=self.bf16, use_cpu=self.device.type == "cpu", dataloader_pin_memory=self.device.type == "cuda",
                seed=draw,
            )  # fmt: skip
            trainer = t.Trainer(
                model, arguments, train_dataset=train, eval_dataset=dev,
                data_collator=t.DataCollatorWithPadding(self.tokenizer), compute_metrics=accuracy,
                callbacks=[t.EarlyStoppingCallback(early_stopping_patience=2)],
            )  # fmt: skip
            trainer.remove_callback(t.PrinterCallback)
            trainer.train()
            scores = [entry["eval_accuracy"] for entry in trainer.state.log_history if "eval_accuracy" in entry]
            test = trainer.predict(self.test).metrics["test_accuracy"] if folder else None
        self.base = model.get_base_model()
        return max(scores), test


def accuracy(prediction: Any) -> dict[str, float]:
    """Share of rows whose largest logit is the label's."""
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


class Trial(tune.Trainable):
    """A configuration; a step trains one draw and reports the mean over the draws so far."""

    def setup(self, config: dict[str, Any], options: Options, threads: int) -> None:
        torch.set_num_threads(threads)
        self.bench = Bench(options)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.chosen, self.scores = new_config, []
        return True

    def step(self) -> dict[str, Any]:
        self.scores.append(self.bench.train(self.chosen, len(self.scores), None)[0])
        return {"dev": statistics.fmean(self.scores), "done": len(self.scores) == self.bench.options["seeds"]}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        pass

    def load_checkpoint(self, checkpoint: Any) -> None:
        pass


@ray.remote
class Final:
    """Trains the chosen configuration again on each draw, and tests it."""

    def run(self, config: dict[str, Any], options: Options, threads: int) -> list[float]:
        torch.set_num_threads(threads)
        bench, scores = Bench(options), []
        for draw in range(options["seeds"]):
            with tempfile.TemporaryDirectory() as folder:
                scores.append(bench.train(config, draw, folder)[1] or 0.0)
        return scores


class Trace(tune.Callback):
    """When a configuration with a better dev score was complete."""

    def __init__(self, start: float, seeds: int) -> None:
        self.start, self.seeds = start, seeds
        self.points: list[tuple[float, float]] = []

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if result["training_iteration"] == self.seeds:
            self.points.append((time.time() - self.start, result["dev"]))


def main() -> None:
    """Search, test, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", default="cb")
    parser.add_argument("--data", default="sample")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    for name, value in {"trials": 12, "seeds": 3, "steps": 40}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = vars(parser.parse_args())
    start = psutil.Process().create_time()
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    cpus, gpus = int(ray.cluster_resources()["CPU"]), int(ray.cluster_resources().get("GPU", 0))
    workers = gpus or max(1, cpus // 4)
    resources = {"CPU": max(1, cpus // workers), **({"GPU": 1} if gpus else {})}
    trace = Trace(start, options["seeds"])
    with tempfile.TemporaryDirectory() as folder:
        # 12 to 94 rows: around as many parameters as DePT's m = 20, r = 16, s = 256 (46.7 rows of 384)
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(Trial, options=options, threads=resources["CPU"]), resources
            ),
            param_space={"lr": tune.loguniform(1e-4, 1e-1), "m": tune.lograndint(12, 94)},
            tune_config=tune.TuneConfig(
                metric="dev", mode="max", num_samples=options["trials"], max_concurrent_trials=workers,
                reuse_actors=True,
                search_alg=OptunaSearch(seed=0, points_to_evaluate=[{"lr": 1e-2, "m": 47}]),
                scheduler=ASHAScheduler(
                    max_t=max(2, options["seeds"]), grace_period=1, reduction_factor=2
                ),
            ),
            run_config=tune.RunConfig(storage_path=folder, name="peer", verbose=0, callbacks=[trace]),
        )  # fmt: skip
        results = tuner.fit()
    searched = time.time() - start
    whole = [one for one in results if one.metrics.get("training_iteration") == options["seeds"]]
    best = max(whole, key=lambda one: one.metrics["dev"])
    final = Final.options(num_cpus=resources["CPU"], num_gpus=1 if gpus else 0).remote()
    scores = ray.get(final.run.remote(best.config, options, resources["CPU"]))
    seconds = time.time() - start
    ray.shutdown()
    print(
        json.dumps(
            {
                "seconds": seconds, "searched": searched, "trace": trace.points, "dev": best.metrics["dev"],
                "test": statistics.fmean(scores), "failed": results.num_errors,
                "draws": sum(one.metrics.get("training_iteration", 0) for one in results),
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
