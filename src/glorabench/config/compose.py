"""Compose the words of a command line into resolved and checked configs.

The resolvers `recipe`, `warmup` and `by_family` fill in values that depend on the method, the run or the backbone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # its product is Hydra's own
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from glorabench import checksum
from glorabench.config import schema, words
from glorabench.config.auto_family import AUTO, list_for_roles, roles_of_node
from glorabench.config.hf_folder import fill_from_folder
from glorabench.config.number_forms import NUMBER_FORMS, canonical
from glorabench.config.paths import CONFIG_GROUPS, conf_dir, options
from glorabench.config.text_folder import fill_from_text_folder
from glorabench.data.checks.preflight import identify_data
from glorabench.errors import BadInput, UnsuitableBackbone, first_line, nearest, nearest_key

_FOLDER_READERS = {"hf_vision_backbone": fill_from_folder, "hf_text_backbone": fill_from_text_folder}
_WARMUP_NOTES: set[str] = set()  # on warm-ups that were shortened
_RECIPE_KEY = re.compile(r"\$\{recipe:(\w+)\s*,")


def resolve(cfg: DictConfig, choices: dict[str, Any]) -> dict[str, Any]:
    """The resolved config of one run as plain values. Its key `names` holds the chosen option of each group.

    Raises:
        BadInput: a value refers to nothing, a key is not known, or a value is not of its type or range.
    """
    cfg = OmegaConf.create({k: v for k, v in cfg.items_ex(resolve=False) if k not in ("hydra", "choose")})
    for group in ("data", "method", "backbone", "train", "optimizer", "selection", "logger"):
        node = OmegaConf.select(cfg, group)
        if not isinstance(node, DictConfig):
            raise BadInput(
                f"{group} must hold keys and values, got {node!r}" if group in cfg else f"{group} is missing"
            )
    if "names" in cfg:
        raise BadInput("no key 'names': the names of a run are those of its groups, and data.label")
    cfg.data.update(identify_data(_plain(cfg.data)))
    task = OmegaConf.select(cfg, "data.label") or OmegaConf.select(cfg, "data.task")
    names = {group: choices.get(group) for group in ("method", "backbone", "data")}
    others = {group: choices[group] for group in ("search", "optimizer") if choices.get(group) not in (None, "adamw")}
    cfg.names = {**names, "task": task, **others}
    if cfg.backbone.get("family") == AUTO:
        _look_at_model(cfg)
    group_files = [conf_dir() / group / f"{choices.get(group)}.yaml" for group in ("method", "train")]
    check_recipes(cfg.get("recipe"), str(names["method"]), options("method"), [*group_files, conf_dir() / "run.yaml"])
    forms = {key: _number_forms(key, _one_name(choices.get(key))) for key in map(str, cfg)}
    config = {key: canonical(value, forms[key]) for key, value in _plain(cfg).items()}
    schema.check_config(config)
    for name in config["train"].get("lr_of") or {}:
        if name not in (methods := options("method")):
            raise BadInput(f"train.lr_of.{name}: no method '{name}'{nearest(name, methods)}")
    for key in ("results_dir", "cache_dir"):
        config[key] = _expand_home(key, config[key])
    backbone = config["backbone"]
    if backbone.get("sha256") is None:  # the id depends on the content of the weights and not on their folder
        backbone["sha256"] = checksum.expected_sha256(backbone.get("weights_from"), backbone.get("name"))
    schema.mark_checked(config)
    return config


def _look_at_model(cfg: DictConfig) -> None:
    """Complete the config of a backbone that is for many models: a record has the name of the one that was chosen.

    Raises:
        BadInput: there is no such model.
    """
    fill = _FOLDER_READERS.get(str(cfg.backbone.get("_target_")).rpartition(".")[2])
    for key, value in fill(_plain(cfg.backbone)).items() if fill else ():
        OmegaConf.update(cfg, f"backbone.{key}", value, merge=False)
    roles_of_node(_plain(cfg.backbone))
    cfg.names.backbone = cfg.backbone.name


def _plain(node: DictConfig) -> dict[str, Any]:
    try:
        plain = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        message = re.sub(r"^\w+ raised while resolving interpolation: ", "", str(error).splitlines()[0])
        kind = UnsuitableBackbone if isinstance(error.__cause__, UnsuitableBackbone) else BadInput
        raise kind(f"config: {error.full_key}: {message}") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _one_name(choice: Any) -> str | None:
    """The name that a group chose; None where it chose several, as `logger` may."""
    return choice if isinstance(choice, str) else None


@cache
def _number_forms(group: str, name: str | None) -> Any:
    """Numbers in the form that ids use (1 or 1.0), from the file of the option and `NUMBER_FORMS`."""
    forms = dict(NUMBER_FORMS.get(group, {}))
    path = conf_dir() / group / f"{name}.yaml"
    if name is None or not path.is_file():
        return forms
    node = OmegaConf.to_container(OmegaConf.load(path))
    defaults = ((key, _default(value)) for key, value in node.items()) if isinstance(node, dict) else ()
    return {**{str(key): value for key, value in defaults if value is not None}, **forms}


def _default(value: Any) -> Any:
    """The default in `${recipe:KEY,DEFAULT}`; any other value as it is."""
    match = re.fullmatch(r"\$\{recipe:\w+\s*,\s*(.+)\}", value) if isinstance(value, str) else None
    return value if match is None else OmegaConf.from_dotlist([f"value={match[1]}"]).value


def _expand_home(key: str, path: str) -> str:
    """A path with `~` and `~name` replaced by the home folder.

    Raises:
        BadInput: there is no such home folder.
    """
    try:
        return str(Path(path).expanduser())
    except RuntimeError as error:
        raise BadInput(f"{key}={path}: {first_line(error)}: give the whole path") from error


def _by_family(values: DictConfig, *, _root_: DictConfig) -> Any:
    """`${by_family:{vit:[q,v],llama:[q,v]}}`: the value for the family of the chosen backbone."""
    family = OmegaConf.select(_root_, "backbone.family")
    if family == AUTO:
        return list_for_roles(values, roles_of_node(_plain(_root_.backbone)))
    if not isinstance(family, str) or family not in values:
        hint = nearest(family, map(str, values))
        raise UnsuitableBackbone(f"none is given for backbones of family '{family}': give it on the command line{hint}")
    return values[family]


OmegaConf.register_new_resolver("by_family", _by_family, replace=True)


def compose(overrides: Sequence[str]) -> dict[str, Any]:
    """The resolved config of one run.

    Raises:
        BadInput: an unknown group, name or key, with the nearest right one.
    """
    cfg = _compose(overrides)
    return resolve(cfg, dict(cfg.hydra.runtime.choices))


def _compose(overrides: Sequence[str]) -> DictConfig:
    return _compose_cached(conf_dir(), tuple(overrides))


@lru_cache(maxsize=2)  # a run is composed twice: when the command is expanded, and for its config
def _compose_cached(folder: Path, overrides: tuple[str, ...]) -> DictConfig:
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            return hydra_compose("run", overrides=list(overrides), return_hydra_config=True)
    except (
        HydraException,
        OmegaConfBaseException,
        ValueError,
        OSError,
    ) as error:  # ValueError and OSError come from odd names of a group
        raise BadInput(_explain(error, overrides)) from error


def _explain(error: Exception, overrides: Sequence[str]) -> str:
    """Hydra's message in one line, with the nearest right name."""
    text = str(error) or str(error.__cause__)
    if match := re.search(r"Could not (?:find|load) '([^'/]+)/([^']+)'", text):
        group, name = match.groups()
        return f"no {group} '{name}'{nearest(name, options(group))}"
    if match := re.search(r"Could not override '([^']+)'", text):
        key = match.group(1)
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            groups = [o for o in overrides if o.partition("=")[0].lstrip("+") in CONFIG_GROUPS]
            cfg = hydra_compose("run", overrides=groups)
        return f"no key '{key}'{nearest_key(key, _keys(cfg))}"
    return first_line(error) if text == str(error) else text.splitlines()[0]


def _keys(cfg: DictConfig, prefix: str = "") -> list[str]:
    keys = [*CONFIG_GROUPS] if not prefix else []
    for key, value in cfg.items_ex(resolve=False):
        keys.append(f"{prefix}{key}")
        if isinstance(value, DictConfig):
            keys += _keys(value, f"{prefix}{key}.")
    return [key for key in keys if not key.endswith("_target_")]


def expand(overrides: Sequence[str], multirun: bool) -> tuple[list[list[str]], bool]:
    """The overrides of every run of a command, and whether the command is a sweep.

    An experiment can be a sweep without -m, by `hydra.mode: MULTIRUN` and `hydra.sweeper.params`. `method=glob(*)` is
    every method.

    Raises:
        BadInput: a list of values without -m, or words that are no overrides.
    """
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())  # the loader resolves glob(...)
    overrides = words.quote_paths(overrides)
    parsed_words = words.parse_words(parser, overrides)
    words.check_groups(parsed_words, CONFIG_GROUPS)
    sweeps = [o for o in parsed_words if o.is_sweep_override()]
    first = []
    for o in sweeps:
        if o.is_interval_sweep() or (isinstance(o.value(), Glob) and o.get_key_element() not in CONFIG_GROUPS):
            raise BadInput(f"'{o.input_line}' cannot be swept: list the values (a,b,c) or use range(start,stop)")
        value = next(iter(o.sweep_string_iterator()), None)
        if value is None:
            names = ", ".join(options(str(o.get_key_element())))
            raise BadInput(f"'{o.input_line}' matches nothing. Known: {names}.")
        first.append(f"{o.get_key_element()}={value}")
    single_words = [o.input_line or "" for o in parsed_words if not o.is_sweep_override()]
    probe = _compose([*single_words, *first])
    multirun = multirun or str(probe.hydra.mode) == "RunMode.MULTIRUN"
    if not multirun:
        if sweeps:
            raise BadInput(f"'{sweeps[0].input_line}' is a sweep: add -m (glorabench run -m ...)")
        return [list(overrides)], False
    params = probe.hydra.sweeper.get("params") or {}
    words_of_sweep = [f"{key}={value}" for key, value in params.items()] + list(overrides)
    batches = BasicSweeper.split_arguments(words.parse_words(parser, words_of_sweep), None)
    return batches[0], True


def choice_settings(overrides: Sequence[str]) -> schema.ChoiceSettings | None:
    """The node `choose` of a command, which is no part of its runs; None where it has none.

    Raises:
        BadInput: naming the wrong key or word.
    """
    if not any(word.lstrip("+").startswith(("experiment=", "choose")) for word in overrides):
        return None
    jobs, _ = expand(overrides, multirun=True)
    node = _compose(jobs[0]).get("choose")
    if node is None:
        return None
    values = OmegaConf.to_container(node, resolve=True)
    schema.validate(schema.ChoiceSettings, values, "choose")
    return schema.ChoiceSettings.model_validate(values)


def resolve_recipe(key: str, default: Any, *, _root_: DictConfig) -> Any:
    """`${recipe:scale,1.0}`: `recipe.<method>.scale`, or the default. If that is a mapping, its entry for the task.

    Raises:
        BadInput: the mapping has no entry for the task.
    """
    method = OmegaConf.select(_root_, "names.method")
    value = OmegaConf.select(_root_, f"recipe.{method}.{key}")
    if not isinstance(value, DictConfig):
        return default if value is None else value
    task = OmegaConf.select(_root_, "data.task")
    if task not in value:
        tasks = ", ".join(map(str, value))
        raise BadInput(f"recipe.{method}.{key} has no value for task '{task}' (it has {tasks}): give {key} yourself")
    return value[task]


def resolve_warmup(recipe_warmup: float, *, _root_: DictConfig) -> float:
    """`${warmup:10}`: 10 epochs of warm-up. If a training of the run is not longer, half of that training."""
    lengths = [OmegaConf.select(_root_, key) for key in ("train.epochs", "search.epochs")]
    # the schema refuses other values later
    epochs_of_stages = [epochs for epochs in lengths if type(epochs) is int and epochs > 0]
    if not epochs_of_stages:
        return recipe_warmup
    epochs = min(epochs_of_stages)
    if (warmup := fitting_warmup(recipe_warmup, epochs)) != recipe_warmup:
        reason = f"the {recipe_warmup} of the recipe do not fit into a training of {epochs}"
        _WARMUP_NOTES.add(f"train.warmup_epochs is {warmup}: {reason}")
    return warmup


def take_warmup_notes() -> list[str]:
    """Return the notes on shortened warm-ups, each once, and delete them."""
    notes = sorted(_WARMUP_NOTES)
    _WARMUP_NOTES.clear()
    return notes


OmegaConf.register_new_resolver("recipe", resolve_recipe, replace=True)


def fitting_warmup(warmup: float, epochs: int) -> float:
    """The warm-up of a recipe in a training of `epochs`; half of these, rounded down, if it is not shorter."""
    return warmup if warmup < epochs else epochs // 2


OmegaConf.register_new_resolver("warmup", resolve_warmup, replace=True)


def check_recipes(recipes: Any, method: str, methods: Iterable[str], paths: Iterable[Path]) -> None:
    """Refuse a recipe that would have no effect.

    Args:
        recipes: the key `recipe` of a config.
        method: the chosen method.
        methods: all methods.
        paths: the files that may hold `${recipe:KEY,DEFAULT}`.

    Raises:
        BadInput: the recipe is no mapping, names an unknown method, or has a key for the method that no file uses.
    """
    if recipes is None:
        return
    if not isinstance(recipes, Mapping) or not all(isinstance(values, Mapping) for values in recipes.values()):
        raise BadInput("recipe must be null or {METHOD: {KEY: VALUE or {TASK: VALUE}}}")
    for name in recipes:
        if name not in (names := list(methods)):
            raise BadInput(f"recipe.{name}: no method '{name}'{nearest(name, names)}")
    files = list(paths)
    keys = {key for path in files for key in _RECIPE_KEY.findall(path.read_text())}
    for key in recipes.get(method) or {}:
        if key not in keys:
            places = ", ".join(f"{path.parent.name}/{path.name}" for path in files)
            raise BadInput(f"recipe.{method}.{key}: none of {places} has such a value{nearest(key, keys)}")
