/* template_named.c - chat templates by name, for data and models without their own. `system` is defined in them alone: what the
 * recipe says about the system message. */
#include "template.h"

#define EACH(body) "{%- for m in messages %}" body "{%- endfor %}"
#define ASK(text) "{%- if add_generation_prompt %}{{ '" text "' }}{%- endif %}"
#define REFUSE(name)                                                                                                             \
    "{%- else %}{{ raise_exception(\"message \" ~ loop.index ~ \" has the role '\" ~ m.role ~ \"', for which template '" name    \
    "' has no form\") }}{%- endif %}"
/* The system message goes into the first message of the user: `before` and `after` surround it. */
#define SYSTEM_IN_USER(name, before, after)                                                                                      \
    "{%- set ns = namespace(system='') %}"                                                                                       \
    "{%- if messages and messages[0].role == 'system' %}"                                                                        \
    "{%- set ns.system = '" before "' + messages[0].content + '" after                                                           \
    "' %}{%- set messages = messages[1:] %}{%- endif %}" EACH("{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}"           \
                                                              "{{ raise_exception(\"template '" name                             \
                                                              "' wants messages of user and assistant in turn; message \" ~ "    \
                                                              "loop.index ~ \" is of '\" ~ m.role ~ \"'\") }}{%- endif %}")

const sail__template_form sail__template_forms[] = {
    {"chatml", EACH("{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}") ASK("<|im_start|>assistant\\n"), NULL,
     NULL, false},
    {"llama3",
     "{%- if messages %}{{ bos_token }}{%- endif %}" EACH(
         "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}")
         ASK("<|start_header_id|>assistant<|end_header_id|>\\n\\n"),
     "<|begin_of_text|>", "<|eot_id|>", false},
    {"phi3",
     EACH("{%- if m.role in ['system', 'user', 'assistant'] %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}" REFUSE(
         "phi3")) ASK("<|assistant|>\\n"),
     NULL, "<|endoftext|>", false},
    {"gemma",
     "{{ bos_token }}" SYSTEM_IN_USER("gemma", "", "\\n\\n")
         EACH("{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' }}"
              "{{ (ns.system if loop.first else '') + m.content | trim + '<end_of_turn>\\n' }}") ASK("<start_of_turn>model\\n"),
     "<bos>", "<eos>", false},
    {"zephyr",
     EACH("{%- if m.role in ['system', 'user', 'assistant'] %}{{ '<|' + m.role + '|>\\n' + m.content + eos_token + '\\n' "
          "}}" REFUSE("zephyr")) ASK("<|assistant|>\\n"),
     NULL, "</s>", false},
    {"mistral",
     "{{ bos_token }}" SYSTEM_IN_USER("mistral", "", "\\n\\n")
         EACH("{%- if m.role == 'user' %}{{ '[INST] ' + (ns.system if loop.first else '') + m.content + ' [/INST]' }}"
              "{%- else %}{{ ' ' + m.content + eos_token }}{%- endif %}"),
     "<s>", "</s>", false},
    {"llama2",
     SYSTEM_IN_USER("llama2", "<<SYS>>\\n", "\\n<</SYS>>\\n\\n")
         EACH("{%- if m.role == 'user' %}"
              "{{ bos_token + '[INST] ' + (ns.system if loop.first else '') + m.content.strip() + ' [/INST]' }}"
              "{%- else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{%- endif %}"),
     "<s>", "</s>", false},
    {"vicuna",
     "{%- if messages and messages[0].role != 'system' %}"
     "{%- set s = system | default(\"A chat between a curious user and an artificial intelligence assistant. The assistant gives "
     "helpful, detailed, and polite answers to the user's questions.\") %}{{ s + ' ' if s else '' }}{%- endif %}" EACH(
         "{%- if m.role == 'system' %}{{ m.content + ' ' }}{%- elif m.role == 'user' %}{{ 'USER: ' + m.content + ' ' }}"
         "{%- elif m.role == 'assistant' %}{{ 'ASSISTANT: ' + m.content + eos_token }}" REFUSE("vicuna")) ASK("ASSISTANT:"),
     NULL, "</s>", true},
    {"hh",
     EACH("{%- if m.role == 'system' %}{{ m.content }}{%- elif m.role == 'user' %}{{ '\\n\\nHuman: ' + m.content }}"
          "{%- elif m.role == 'assistant' %}{{ '\\n\\nAssistant: ' + m.content }}" REFUSE("hh")) ASK("\\n\\nAssistant:"),
     NULL, NULL, true},
    {"beaver",
     "{%- if messages %}{{ 'BEGINNING OF CONVERSATION: ' }}{%- endif %}" EACH(
         "{%- if m.role == 'system' %}{{ m.content + ' ' }}{%- elif m.role == 'user' %}{{ 'USER: ' + m.content + ' ' }}"
         "{%- elif m.role == 'assistant' %}{{ 'ASSISTANT:' + m.content + eos_token }}" REFUSE("beaver")) ASK("ASSISTANT:"),
     NULL, "</s>", true},
    {"plain", EACH("{{ m.content + '\\n' }}"), NULL, NULL, true},
    {0},
};
