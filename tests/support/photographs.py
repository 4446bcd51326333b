"""Questions about photographs, as the benchmark's processor makes inputs of them."""


def asked_about(processor, photo, question="What is in the picture?"):
    turns = [{"role": "user", "content": [{"type": "image", "image": photo}, {"type": "text", "text": question}]}]
    options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
    return dict(processor.apply_chat_template(turns, **options))
