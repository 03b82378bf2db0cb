"""DePT as a method of PEFT. Importing this makes PEFT know the type ``DEPT``::

from peft import PeftModel, get_peft_model
from pipelines.peft_dept import DeptConfig, parameter_groups

model = get_peft_model(backbone, DeptConfig(m=40, task_type="SEQ_2_SEQ_LM"))
optimizer = torch.optim.AdamW(parameter_groups(model, alpha1=0.3, alpha2=5e-4))
...
model.save_pretrained("cb")
model = PeftModel.from_pretrained(backbone, "cb")
"""

from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

from pipelines.peft_dept.config import DEPT, DeptConfig
from pipelines.peft_dept.layer import BASE, DeptLayer
from pipelines.peft_dept.model import DeptModel
from pipelines.peft_dept.optim import parameter_groups

PEFT_TYPE_TO_CONFIG_MAPPING[DEPT] = DeptConfig
PEFT_TYPE_TO_TUNER_MAPPING[DEPT] = DeptModel
PEFT_TYPE_TO_PREFIX_MAPPING[DEPT] = DeptModel.prefix

__all__ = ["BASE", "DEPT", "DeptConfig", "DeptLayer", "DeptModel", "parameter_groups"]
