/** The pages of the personas: the list, and the form of one. */

import { installEditor } from "../persona/editor";
import { installList } from "../persona/list";

const form = document.getElementById("persona") as HTMLFormElement | null;
if (form) installEditor(form);
else installList();
