"""Labels and attributes of one set, numbered as those of another."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxgen.data.pipeline import Data
from jaxgen.data.source import DataInfo
from jaxgen.errors import UserError


def numbered_as(data: Data, info: DataInfo, fields: Sequence[str], whose: str) -> Data:
    """The examples of `data` with labels and attributes that have the numbers of `info`: they are
    found by their names, where both have some.

    fields: labels and attributes, by the fields' names; all others stay as they are.
    whose: what `info` is of, in words.

    UserError for labels that `info` does not know, and for attributes that `data` lacks.
    """
    own, places, names = data.info, {}, {}
    kinds = {name: own.fields[name].kind for name in fields}
    for name, kind in kinds.items():
        if kind == "label" and own.label_names and info.label_names:
            here, there = own.label_names, info.label_names
            if unknown := [x for x in here if x not in there]:
                raise UserError(
                    f"{data.spec} has labels that {whose} does not know: {_few(unknown)}; name "
                    f"data whose labels are of {_few(there)}"
                )
            places[name], names["label_names"] = [there.index(x) for x in here], there
        elif kind == "attributes":
            here, there = own.attribute_names, info.attribute_names
            if lacking := [x for x in there if x not in here]:
                raise UserError(
                    f"{data.spec} lacks attributes that {whose} knows: {_few(lacking)}; name data "
                    "that has them"
                )
            places[name], names["attribute_names"] = [here.index(x) for x in there], there
    if all(vars(own)[name] == known for name, known in names.items()):
        return data
    tables = {name: np.array(places[name], np.int32) for name in places}

    def changed(example):
        found = dict(example)
        for name, table in tables.items():
            x = found[name]
            found[name] = table[x] if kinds[name] == "label" else x[..., table]
        return found

    def of_source(source):
        return dataclasses.replace(source, read=lambda i: changed(source.read(i)), **names)

    return dataclasses.replace(
        data,
        sources=tuple(map(of_source, data.sources)),
        open=lambda split: tuple(map(of_source, data.open(split))),
        arrays=data.arrays and tuple(map(changed, data.arrays)),
    )


def _few(names):
    return ", ".join(names[:10]) + ", ..." * (len(names) > 10)
