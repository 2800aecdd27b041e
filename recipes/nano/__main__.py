"""The run that made nano, a command at a time: tokenizer, data, train, evaluate, card.

python -m recipes.nano tokenizer harmonium/assets/nano
python -m recipes.nano train runs/nano --minutes 9     # again until it says done
python -m recipes.nano evaluate | python -m recipes.nano card    # with --temperature 1 too
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

ASSETS = Path(__file__).parents[2] / "harmonium" / "assets" / "nano"


def _tokenizer(options: argparse.Namespace) -> None:
    from recipes.nano import tokenizer
    from recipes.nano.curriculum import drills

    texts = [tokenizer.plain_text(drill.conversation) for drill in islice(drills("tokenizer"), options.drills)]
    tokenizer.save(tokenizer.train(texts), options.folder)


def _data(options: argparse.Namespace) -> None:
    from recipes.nano.data import make_shards

    first, last = (int(number) for number in options.numbers.split(":"))
    make_shards(options.folder, options.tokenizer, options.seed, range(first, last), options.workers)


def _train(options: argparse.Namespace) -> None:
    from recipes.nano import train

    plan = train.Plan()
    changes = {name: value for name in ("n_steps", "learning_rate") if (value := getattr(options, name)) is not None}
    if options.start is not None:
        changes["start"] = train.Start(options.start, options.start_step)
    run = train.train(options.folder, options.tokenizer, replace(plan, **changes), options.minutes)
    train.save_packed(run, options.packed or options.folder / "packed", options.tokenizer)
    train.report(run, options.tokenizer, options.exam)
    print("done" if run.step == run.plan.n_steps else "run the same command again", flush=True)


def _evaluate(options: argparse.Namespace) -> None:
    from recipes.nano.curriculum import SCORED
    from recipes.nano.evaluate import evaluate

    skills = options.skill or SCORED
    settings = {name: getattr(options, name) for name in ("n", "temperature", "misses", "device")}
    evaluate(options.folder, skills=skills, **settings)


def _card(options: argparse.Namespace) -> None:
    from recipes.nano import card

    printed = []
    for line in sys.stdin:
        print(line, end="", flush=True)
        printed.append(line)
    card.record(options.folder, printed)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recipes.nano", description=__doc__)
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("tokenizer", help="learn the vocabulary from the curriculum's text")
    command.add_argument("folder", type=Path)
    command.add_argument("--drills", type=int, default=60_000)
    command.set_defaults(run=_tokenizer)

    command = commands.add_parser("data", help="write training rows")
    command.add_argument("folder", type=Path)
    command.add_argument("tokenizer", type=Path)
    command.add_argument("--numbers", default="0:1", help="shards FIRST:LAST, the last one left out")
    command.add_argument("--seed", default="nano")
    command.add_argument("--workers", type=int, default=2)
    command.set_defaults(run=_data)

    command = commands.add_parser("train", help="train on one GPU, or go on with a run")
    command.add_argument("folder", type=Path)
    command.add_argument("--tokenizer", type=Path, default=ASSETS / "tokenizer.json")
    command.add_argument("--minutes", type=float, default=9.0)
    command.add_argument("--packed", type=Path, help="where the packed checkpoint goes (FOLDER/packed)")
    command.add_argument("--start", type=Path, help="a packed checkpoint to go on from, where the run's state is gone")
    command.add_argument("--start-step", type=int, default=0, help="the step that checkpoint was at")
    command.add_argument("--n-steps", type=int)
    command.add_argument("--learning-rate", type=float)
    command.add_argument("--exam", type=int, default=200)
    command.set_defaults(run=_train)

    command = commands.add_parser("evaluate", help="score a packed checkpoint on held-out drills")
    command.add_argument("folder", type=Path, nargs="?", default=ASSETS)
    command.add_argument("-n", type=int, default=200, help="drills a skill")
    command.add_argument("--temperature", type=float, default=0.0)
    command.add_argument("--skill", action="append", help="only this one (repeatable)")
    command.add_argument("--misses", type=int, default=0, help="wrong answers to show for each skill")
    command.add_argument("--device", default="cpu")
    command.set_defaults(run=_evaluate)

    command = commands.add_parser("card", help="pass an evaluation's output on, and keep its scores on the model card")
    command.add_argument("folder", type=Path, nargs="?", default=ASSETS)
    command.set_defaults(run=_card)

    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
