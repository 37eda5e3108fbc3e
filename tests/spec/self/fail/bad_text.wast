;; fails at line 2: component: MalformedComponent: in the text: unknown operator
(component (core module (func (no.such.instruction))))
