import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts_store.secrets import secret_values, without_secrets

passwords = st.text(string.ascii_letters + string.digits + "!$%&()*+,;=:@._~-", min_size=6, max_size=20)


@given(passwords, st.sampled_from(["http", "https", "postgresql+psycopg2", "ray", "s3"]))
def test_a_password_in_an_address_is_left_out(password: str, scheme: str) -> None:
    text = f"cannot reach {scheme}://someone:{password}@db.example.org:5432/x?a=b: refused"
    assert without_secrets(text) == f"cannot reach {scheme}://db.example.org:5432/x?a=b: refused"


def test_values_of_secret_variables_are_left_out_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "HF_TOKEN": "hf_marked1",
        "MLFLOW_TRACKING_PASSWORD": "marked2",
        "AWS_SECRET_ACCESS_KEY": "marked/3+=",
        "OPENAI_API_KEY": "sk-marked4",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:pa%2Fss%40word@host/m")
    text = f"Authorization: {' '.join(secrets.values())}, pa/ss@word and pa%2Fss%40word"
    assert without_secrets(text) == "Authorization: *** *** *** ***, *** and ***"


def test_what_is_no_secret_stays() -> None:
    assert without_secrets("a@b.org wrote http://host/a@b?q=1") == "a@b.org wrote http://host/a@b?q=1"
    assert without_secrets("http://host/x?a=1&sas_token=abc&b=2") == "http://host/x?a=1&sas_token=***&b=2"
    places = {"AWS_SHARED_CREDENTIALS_FILE": "/home/me/.aws/credentials", "TOKEN": "short", "USER": "me-myself"}
    assert secret_values(places) == set()
