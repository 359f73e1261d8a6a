"What a command has said when a step of it begins."

import importlib


def said_before(module, names, monkeypatch, capsys):
    "Watch functions of a module; the dict fills with the last line that was said before each is first called."
    module, heard, said = importlib.import_module(module), {}, ''

    def watched(name, step):
        def begin(*given, **named):
            nonlocal said
            said += capsys.readouterr().out
            heard.setdefault(name, said.strip().splitlines()[-1])
            return step(*given, **named)

        return begin

    for name in names:
        monkeypatch.setattr(module, name, watched(name, getattr(module, name)))
    return heard
